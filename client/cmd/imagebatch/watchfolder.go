package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/inbox"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/watchfolder"
)

// minPoll is the shortest time between two polls.
const minPoll = 100 * time.Millisecond

func (a *app) folderCommand() *cobra.Command {
	var o inbox.Config
	cmd := &cobra.Command{
		Use:   "folder IN --out OUT",
		Short: "Send the images that appear in a folder and save the results in another one",
		Long: `Send the images that appear in a folder and save the results in another one.

The images in IN and its subfolders are sent when they are complete, and the results are written to the same paths in OUT. A
file in OUT that was not written by this command is never replaced: the result becomes "name (2).jpg". Each content is sent once,
as the journal OUT/.imagebatch.jsonl says: after an interruption, also by kill -9, the same command continues. A file that was renamed
gets a copy of its result.

The command runs until it is interrupted and waits for a gateway that is not available. With --once, it ends when
every image that it finds has ended.`,
		Example: `  imagebatch folder inbox --out processed
  imagebatch folder inbox --out processed --done originals --failed rejected
  imagebatch folder inbox --out processed --once`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.In = args[0]
			return a.folder(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.Out, "out", "o", "", "save the results in this folder")
	flags.StringVar(&o.Done, "done", "", "move the originals to this folder when their results are saved")
	flags.StringVar(&o.Failed, "failed", "", "move the originals of failed images to this folder")
	flags.DurationVar(&o.Poll, "poll", 5*time.Second, "time between two looks at IN; a file is sent when two in a row find it unchanged")
	flags.BoolVar(&o.Once, "once", false, "end when every image has ended")
	flags.BoolVar(&o.NoCaptions, "no-captions", false, "let no vision model see the images")
	flags.BoolVar(&o.Resend, "resend", false, "send images again, once, that failed or whose results are lost")
	return cmd
}

func (a *app) folder(ctx context.Context, o inbox.Config) error {
	if err := prepareFolders(&o); err != nil {
		return err
	}
	retries := manyRetries
	if !o.Once {
		retries, a.calm = fewRetries, true // Run goes on after the error.
	}
	c, err := a.connect(retries)
	if err != nil {
		return err
	}
	bar := a.startBar(0, 0)
	o.Report = func(e inbox.Event) { a.folderEvent(bar, o, e) }
	if !a.json && !a.quiet {
		o.Captions = func(m *client.Captions) { a.note("%s", captionsText(0, m)) }
	}
	counts, err := inbox.Run(ctx, c, o)
	bar.close()
	if _, ok := errors.AsType[*inbox.LocalError](err); ok {
		err = &localError{err}
	}
	if _, ok := interruption(ctx); ok {
		a.note("run the same command again to continue")
		return err
	}
	if printErr := a.printFolderSummary(counts); printErr != nil || err != nil {
		return errors.Join(err, printErr)
	}
	code := exitOK
	for _, part := range []struct{ n, code int }{
		{counts.Problems, exitLocal}, {counts.Cancelled + counts.Lost, exitJobFailed}, {counts.Failed, exitImagesFailed},
	} {
		if part.n > 0 {
			code = worse(code, part.code)
		}
	}
	if code != exitOK {
		return &outcome{code}
	}
	return nil
}

// prepareFolders checks the folders, makes their paths absolute and creates those that do not exist.
func prepareFolders(o *inbox.Config) error {
	if o.Out == "" {
		return &usageError{errors.New("--out is required")}
	}
	if o.Poll < minPoll {
		return &usageError{fmt.Errorf("--poll must be at least %s", minPoll)}
	}
	info, err := os.Stat(o.In)
	if err != nil {
		return &localError{err}
	}
	if !info.IsDir() {
		return &usageError{fmt.Errorf("%s is not a folder", o.In)}
	}
	if o.In, err = filepath.Abs(o.In); err != nil {
		return &localError{err}
	}
	if o.In, err = filepath.EvalSymlinks(o.In); err != nil {
		return &localError{err}
	}
	for _, dir := range []struct {
		flag string
		path *string
	}{{"--out", &o.Out}, {"--done", &o.Done}, {"--failed", &o.Failed}} {
		if *dir.path == "" {
			continue
		}
		inside, err := watchfolder.Contains(o.In, *dir.path)
		if err != nil {
			return &localError{err}
		}
		if inside {
			return &usageError{fmt.Errorf("%s %s must not be in %s: its files would be sent again", dir.flag, *dir.path, o.In)}
		}
		if *dir.path, err = filepath.Abs(*dir.path); err != nil {
			return &localError{err}
		}
		if err := os.MkdirAll(*dir.path, 0o777); err != nil { //nolint:gosec // as mkdir does; the umask decides
			return &localError{err}
		}
		around, err := watchfolder.Contains(*dir.path, o.In)
		if err != nil {
			return &localError{err}
		}
		if around {
			return &usageError{fmt.Errorf("%s %s must not contain %s", dir.flag, *dir.path, o.In)}
		}
	}
	return distinct(o)
}

// distinct returns an error if originals would be moved to the results.
func distinct(o *inbox.Config) error {
	out, err := os.Stat(o.Out)
	if err != nil {
		return &localError{err}
	}
	for flag, dir := range map[string]string{"--done": o.Done, "--failed": o.Failed} {
		if dir == "" {
			continue
		}
		info, err := os.Stat(dir)
		if err != nil {
			return &localError{err}
		}
		if os.SameFile(out, info) {
			return &usageError{fmt.Errorf("%s and --out must be different folders", flag)}
		}
	}
	return nil
}

// folderEvent prints an event. On a terminal, the bar shows what went well.
func (a *app) folderEvent(b *bar, o inbox.Config, e inbox.Event) {
	c := e.Counts
	ended := c.Completed + c.Failed + c.Lost
	b.set(ended+c.Sending+c.Ready+c.Waiting, ended, c.Failed+c.Lost)
	if a.json {
		_ = a.print(e) // the journal is the record
		return
	}
	detailed := b.width == nil && !a.quiet
	switch e.Type {
	case inbox.Resumed:
		if !a.quiet {
			a.note("continuing with %s of an earlier run", count(e.Files, "image"))
		}
	case inbox.Sent:
		if detailed {
			a.note("job %s: sent %s", e.JobID, count(e.Files, "image"))
		}
	case inbox.Completed, inbox.Copied:
		if filepath.ToSlash(e.Path) != e.Output {
			a.note("%s: saved as %s", e.Path, e.Output)
		} else if detailed {
			a.note("%s: %s", e.Path, e.Type)
		}
	case inbox.Moved:
		if e.Path != e.Output {
			a.note("%s: moved to %s", e.Path, e.Output)
		}
	case inbox.Failed:
		_ = a.printFailure(e.Path, e.Error)
	case inbox.Lost:
		_ = a.printFailure(e.Path, e.Error+"; it is not sent again without --resend")
	case inbox.Problem:
		a.note("%s: %s", e.Path, e.Error)
	case inbox.Waiting:
		if !o.Once {
			a.note("%s; waiting for the gateway", e.Error)
		}
	case inbox.Working:
		a.note("the gateway is available again")
	case inbox.Scanned, inbox.Skipped:
	}
}

func (a *app) printFolderSummary(c inbox.Counts) error {
	if a.json {
		return a.print(struct {
			Type string `json:"type"`
			inbox.Counts
		}{"summary", c})
	}
	parts := []string{count(c.Completed, "image") + " saved"}
	for _, part := range []struct {
		n    int
		text string
	}{
		{c.Failed, "failed"},
		{c.Uncaptioned, "uncaptioned"},
		{c.Lost, "lost"},
		{c.Problems, "not read, written or moved"},
		{c.Sending, "unfinished"},
		{c.Ready, "not sent"},
		{c.Others, "skipped, not an image"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.text))
		}
	}
	return a.line(strings.Join(parts, ", "))
}
