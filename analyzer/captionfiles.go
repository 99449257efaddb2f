package analyzer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/imagebatch/imagebatch/analyzer/internal/describe"
	"github.com/imagebatch/imagebatch/analyzer/internal/vision"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// The operator command that tries a model or a prompt.
const (
	CaptionName    = "caption"
	CaptionSummary = "FILE…: send files to the vision model of CAPTION_URL, and print request, answer, tokens and time; see docs/captions.md"
)

// Bounds of the command, in bytes.
const (
	maxTriedFile   = 256 << 20
	maxShownAnswer = 8 << 10
)

// CaptionFiles runs the command and returns the exit code: 2 for a mistake in the configuration, and 1 if a file got no
// caption. It neither stores answers nor changes files.
func CaptionFiles(ctx context.Context, files, environ []string, stdout, stderr io.Writer) int {
	c, err := service.Load(environ, func(c *CaptionConfig) (err error) {
		if *c, err = c.complete(); err == nil && !c.On() {
			return errors.New("CAPTION_URL: want the URL of an API; captions are off")
		}
		return err
	})
	if err == nil && len(files) == 0 {
		err = errors.New("usage: " + CaptionName + " FILE…")
	}
	var t *tried
	if err == nil {
		t, err = newTried(c, stdout, stderr)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return 2
	}
	defer t.client.Close()
	code := 0
	for _, file := range files {
		if err := t.caption(ctx, file); err != nil {
			_, _ = fmt.Fprintf(stderr, "%s: %v\n", file, err)
			code = 1
		}
	}
	return code
}

// tried is the state of the command. Write errors of the output are ignored: there is no place to report them.
type tried struct {
	config    CaptionConfig
	client    *vision.Client
	describer *describe.Describer
	out       io.Writer
}

func newTried(c CaptionConfig, stdout, stderr io.Writer) (*tried, error) {
	roots, err := c.Roots()
	if err != nil {
		return nil, err //nolint:wrapcheck // It names the variable.
	}
	metrics := telemetry.NewRegistry()
	t := &tried{config: c, describer: describe.New(describe.Config{}), out: stdout}
	t.client, err = vision.New(c.client(), vision.Deps{
		Log: slog.New(slog.NewTextHandler(stderr, nil)), Metrics: metrics, Roots: roots, Observe: t.observe,
	})
	return t, err //nolint:wrapcheck // The configuration is already validated.
}

// caption sends one file and prints the result.
func (t *tried) caption(ctx context.Context, file string) error {
	f, err := os.Open(file) //nolint:gosec // The operator chooses the file.
	if err != nil {
		return err //nolint:wrapcheck // The caller names the file.
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTriedFile+1))
	if err != nil {
		return err //nolint:wrapcheck // The caller names the file.
	}
	if len(data) > maxTriedFile {
		return fmt.Errorf("want at most %d bytes", maxTriedFile)
	}
	picture, err := vision.Picture(ctx, t.describer, data, t.config.CaptionPixels)
	if err != nil {
		return err //nolint:wrapcheck // It says what was done.
	}
	_, _ = fmt.Fprintf(t.out, "%s: a file of %d bytes, sent as a JPEG of %d bytes\n", file, len(data), len(picture))
	for {
		a, err := t.client.Caption(ctx, picture, vision.Tried{})
		if u, ok := errors.AsType[*vision.Unavailable](err); ok && u.Own {
			if err := wait(ctx, u.After); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err //nolint:wrapcheck // It says what happened.
		}
		text, err := json.MarshalIndent(a, "", "  ")
		if err != nil {
			return err //nolint:wrapcheck // It cannot happen.
		}
		_, _ = fmt.Fprintf(t.out, "answer: %s\n%d prompt tokens, %d completion tokens, %.1f s\n", text, a.PromptTokens, a.CompletionTokens,
			float64(a.DurationMS)/1000)
		return nil
	}
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err() //nolint:wrapcheck // It is the caller's.
	}
}

// dataURL matches the image in a request.
var dataURL = regexp.MustCompile(`"data:image/jpeg;base64,[^"]*"`)

// observe prints a request without the bytes of the image, and the response as it came, without characters that would change
// the terminal.
func (t *tried) observe(request []byte, status int, response []byte) {
	var indented bytes.Buffer
	if json.Indent(&indented, dataURL.ReplaceAll(request, []byte(`"data:image/jpeg;base64,…"`)), "", "  ") == nil {
		_, _ = fmt.Fprintf(t.out, "request: %s\n", indented.Bytes())
	}
	if status == 0 {
		_, _ = fmt.Fprintln(t.out, "no response")
		return
	}
	shown := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsGraphic(r) {
			return r
		}
		return -1
	}, string(response[:min(len(response), maxShownAnswer)]))
	_, _ = fmt.Fprintf(t.out, "response of status %d: %s\n", status, strings.TrimSpace(shown))
}
