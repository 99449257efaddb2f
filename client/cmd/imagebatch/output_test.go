package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/client"
)

// TestSafePath verifies under which path an image is saved.
func TestSafePath(t *testing.T) {
	for _, c := range []struct{ id, name, want string }{
		{"a/b.jpg", "x.jpg", "a/b.jpg"},
		{"Ä ß/日本.jpg", "x.jpg", "Ä ß/日本.jpg"},
		{"", "x.jpg", "x.jpg"},
		{"4711", "x.jpg", "x.jpg"}, // a number of a database is no path
		{"../x.jpg", "a.jpg", "a.jpg"},
		{"a/../x.jpg", "a.jpg", "a.jpg"},
		{"/x.jpg", "a.jpg", "a.jpg"},
		{"a//x.jpg", "a.jpg", "a.jpg"},
		{"./x.jpg", "a.jpg", "a.jpg"},
		{`a\x.jpg`, "a.jpg", "a.jpg"},
		{"c:x.jpg", "a.jpg", "a.jpg"},
		{"https://x/y.jpg", "a.jpg", "a.jpg"},
		{"com1.jpg", "a.jpg", "a.jpg"},
		{"a/NUL.x.jpg", "a.jpg", "a.jpg"},
		{"lpt².jpg", "a.jpg", "a.jpg"},
		{"com.jpg", "a.jpg", "com.jpg"},
		{"a /x.jpg", "a.jpg", "a.jpg"},
		{"a./x.jpg", "a.jpg", "a.jpg"},
		{"\u202egpj.exe", "a.jpg", "a.jpg"},
		{"x\x00.jpg", "a.jpg", "a.jpg"},
		{".hidden/x.jpg", "a.jpg", "a.jpg"},
		{"", `..\..\a.jpg`, "a.jpg"},
		{"", "../../a.jpg", "a.jpg"},
		{"", "...", "image-8"},
		{"", "", "image-8"},
		{"", "nul", "image-8"},
		{"", ".bashrc", "bashrc"},
		{"", "a\x1b[1m.jpg", "a_[1m.jpg"},
		{"", strings.Repeat("ä", 300) + ".jpg", strings.Repeat("ä", 98) + ".jpg"},
	} {
		if got := safePath(imageOf(c.id, c.name)); got != c.want {
			t.Errorf("%q and %q: %q, want %q", c.id, c.name, got, c.want)
		}
	}
}

// TestTake verifies that two results never have one path, also where case is ignored.
func TestTake(t *testing.T) {
	f := &folder{taken: map[string]bool{}}
	for _, c := range []struct{ want, got string }{
		{"a/x.jpg", "a/x.jpg"}, {"a/X.jpg", "a/X (2).jpg"}, {"a/x.jpg", "a/x (3).jpg"}, {"b/x.jpg", "b/x.jpg"},
	} {
		if got := f.take(c.want); got != c.got {
			t.Errorf("%q: %q, want %q", c.want, got, c.got)
		}
	}
}

// TestExitCode verifies the exit codes of errors, and which one counts.
func TestExitCode(t *testing.T) {
	status := func(n int) error { return &client.Error{Status: n} }
	for want, errs := range map[int][]error{
		exitUsage:       {&usageError{errors.New("x")}, status(400), status(404), status(409), status(422)},
		exitUnreachable: {errors.New("dial"), status(429), status(500), status(502), status(503), status(408)},
		exitRefused:     {status(401), status(403), status(413)},
		exitLocal:       {&localError{errors.New("x")}, &client.ImageError{Err: errors.New("x")}, &fs.PathError{Err: errors.New("x")}},
		exitJobFailed:   {&outcome{exitJobFailed}},
		exitOK:          {nil},
	} {
		for _, err := range errs {
			if got := exitCode(t.Context(), err); got != want {
				t.Errorf("%v: %d, want %d", err, got, want)
			}
		}
	}
	stopped, stop := context.WithCancelCause(t.Context())
	stop(&interrupted{exitTerminated})
	if got := exitCode(stopped, status(404)); got != exitTerminated {
		t.Errorf("after a signal: %d, want %d", got, exitTerminated)
	}
	if worse(exitImagesFailed, exitJobFailed) != exitJobFailed || worse(exitLocal, exitOK) != exitLocal || worse(exitRefused, exitUnreachable) != exitRefused {
		t.Error("worse returns the wrong code")
	}
}

// TestQuote verifies that the command to continue with can be pasted into a shell.
func TestQuote(t *testing.T) {
	s := &sender{a: &app{url: "http://x"}, options: sendOptions{out: "my out", parallel: 5, retries: 100, noCaptions: true, resume: true, recursive: true, metadata: []string{"a=it's"}}}
	want := `imagebatch send --resume --url http://x -r --out 'my out' --metadata 'a=it'\''s' --no-captions --parallel 5 --retries 100 -- -x '$(rm)' ''`
	if got := s.resumeCommand([]string{"-x", "$(rm)", ""}); got != want {
		t.Errorf("command\n%s, want\n%s", got, want)
	}
}

// TestParseTime verifies the times of list.
func TestParseTime(t *testing.T) {
	if got, err := parseTime("--since", "2026-11-28T18:00:00+01:00"); err != nil || !got.Equal(time.Date(2026, 11, 28, 17, 0, 0, 0, time.UTC)) {
		t.Errorf("time %s, %v", got, err)
	}
	if got, err := parseTime("--since", "2026-11-28"); err != nil || !got.Equal(time.Date(2026, 11, 28, 0, 0, 0, 0, time.Local)) {
		t.Errorf("date %s, %v", got, err)
	}
	before := time.Now().Add(-24 * time.Hour)
	if got, err := parseTime("--since", "24h"); err != nil || got.Before(before) || got.After(time.Now().Add(-24*time.Hour)) {
		t.Errorf("duration %s, %v", got, err)
	}
	for _, text := range []string{"yesterday", "-1h", "2026-13-01"} {
		if got, err := parseTime("--since", text); err == nil {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func imageOf(id, name string) *client.JobImage {
	return &client.JobImage{Index: 7, CustomID: id, OriginalFilename: name}
}
