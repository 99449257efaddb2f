package deadletters

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/imagebatch/imagebatch/gateway/internal/deadletter"
)

// Limits of the output.
const (
	maxCell = 60       // runes of a name or a reason in a table
	maxLine = 300      // runes of the detail of a dead letter
	maxText = 1 << 10  // bytes of a text in a dead letter that is shown
	maxShow = 64 << 10 // bytes of a dead letter that is not JSON
)

// printer writes lines of text or JSON.
type printer struct{ w io.Writer }

func (p printer) line(format string, args ...any) error {
	if _, err := fmt.Fprintf(p.w, format+"\n", args...); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func (p printer) object(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return p.line("%s", text)
}

// list prints one line per dead letter.
func (t *tool) list(ctx context.Context) (int, error) {
	table := tabwriter.NewWriter(t.w, 0, 0, 2, ' ', 0)
	count := 0
	err := t.browse(ctx, func(_ context.Context, l deadletter.Letter) error {
		count++
		if t.json {
			return t.object(l.Entry())
		}
		if count == 1 {
			_, _ = fmt.Fprintln(table, "QUEUE\tDIED\tJOB\tTRACE\tINDEX\tFILENAME\tATTEMPT\tWHY")
		}
		_, err := fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\t%d\t%s\n", l.Queue, clock(l.DiedAt()), cell(l.Envelope.JobID),
			cell(string(l.Envelope.TraceID)), l.Envelope.Index, cell(l.Filename), l.Envelope.Attempt, cell(l.Reason()))
		return err
	})
	if err == nil && !t.json {
		if err = table.Flush(); err == nil {
			err = t.line("%s", counted(count, "dead letter"))
		}
	}
	return exitDone, err
}

// show prints each dead letter in full as JSON, but shortens long texts such as image data.
func (t *tool) show(ctx context.Context) (int, error) {
	code := exitLeft
	err := t.browse(ctx, func(_ context.Context, l deadletter.Letter) error {
		code = exitDone
		type death struct {
			Queue  string    `json:"queue"`
			Reason string    `json:"reason"`
			Count  int64     `json:"count"`
			At     time.Time `json:"at"`
		}
		whole := struct {
			deadletter.Entry
			Deaths  []death           `json:"deaths,omitempty"`
			Headers map[string]string `json:"headers,omitempty"`
			Message any               `json:"message"`
		}{Entry: l.Entry(), Headers: map[string]string{}}
		for _, d := range l.Deaths {
			whole.Deaths = append(whole.Deaths, death(d))
		}
		for _, name := range slices.Sorted(maps.Keys(l.Headers)) {
			whole.Headers[shortened(name)] = shortened(l.Headers[name])
		}
		if err := json.Unmarshal(l.Body, &whole.Message); err != nil {
			whole.Message = strings.ToValidUTF8(string(l.Body[:min(len(l.Body), maxShow)]), "\uFFFD")
		} else {
			whole.Message = bounded(whole.Message)
		}
		text, err := json.MarshalIndent(whole, "", "  ")
		if err != nil {
			return fmt.Errorf("print: %w", err)
		}
		return t.line("%s", text)
	})
	return code, err
}

// bounded shortens the long texts, such as thumbnails, in a decoded JSON value.
func bounded(v any) any {
	switch v := v.(type) {
	case string:
		return shortened(v)
	case []any:
		for i := range v {
			v[i] = bounded(v[i])
		}
	case map[string]any:
		for name := range v {
			v[name] = bounded(v[name])
		}
	}
	return v
}

func shortened(s string) string {
	if len(s) <= maxText {
		return s
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(s[:64], ""), len(s))
}

// cell makes an untrusted client's text safe for a terminal, as plain does.
func cell(s string) string {
	if s == "" {
		return "-"
	}
	return plain(s, maxCell)
}

// plain shortens a text and replaces characters that could move a terminal's cursor.
func plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return s
}

func clock(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.UTC().Format("2006-01-02T15:04:05Z")
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
