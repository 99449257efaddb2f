package journal_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/lockfile"
)

var at = time.Date(2026, 11, 28, 18, 0, 0, 123, time.UTC)

func open(t *testing.T, path string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() }) // A test may have closed it.
	return j
}

func reopen(t *testing.T, path string, j *journal.Journal) *journal.Journal {
	t.Helper()
	must(t, j.Close())
	return open(t, path)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func file(path, content string) journal.File {
	return journal.File{Path: path, Size: int64(len(content)), Time: at, SHA256: sha256.Sum256([]byte(content))}
}

func done(output string) journal.Outcome {
	return journal.Outcome{Status: journal.Completed, Output: output, Digest: sha256.Sum256([]byte("output of " + output))}
}

// TestResume verifies that a journal that is opened again knows the open batch, its job and its ended files, and the
// files that have ended by path, content and output.
func TestResume(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path)
	must(t, j.Begin(journal.Batch{Key: "K1", Files: []journal.File{file("a.jpg", "a"), file("b.jpg", "b"), file("ü <&>.png", "c")}}))
	must(t, j.Begin(journal.Batch{Key: "K2", Files: []journal.File{file("d.jpg", "d")}}))
	must(t, j.Created("K1", "J1", at))
	must(t, j.Ended("K1", 2, done("ü <&>.png")))
	must(t, j.Ended("K1", 0, journal.Outcome{Status: journal.Failed, Error: "damaged"}))
	must(t, j.Note(journal.Record{File: file("renamed.png", "c"), Outcome: done("renamed.png")}))
	for range 2 {
		j = reopen(t, path, j)
		want := []journal.Batch{
			{
				Key: "K1", JobID: "J1", Created: at, Files: []journal.File{file("a.jpg", "a"), file("b.jpg", "b"), file("ü <&>.png", "c")},
				Outcomes: []journal.Outcome{{Status: journal.Failed, Error: "damaged"}, {}, done("ü <&>.png")},
			},
			{Key: "K2", Files: []journal.File{file("d.jpg", "d")}, Outcomes: make([]journal.Outcome, 1)},
		}
		if got := j.Batches(); !reflect.DeepEqual(got, want) {
			t.Errorf("open batches:\n%+v\nwant\n%+v", got, want)
		}
		if r, ok := j.ByPath("a.jpg"); !ok || r.Outcome.Error != "damaged" || r.File != file("a.jpg", "a") {
			t.Errorf("a.jpg: %+v, %t", r, ok)
		}
		if r, ok := j.ByContent(sha256.Sum256([]byte("c"))); !ok || r.File.Path != "renamed.png" || r.Outcome != done("renamed.png") {
			t.Errorf("the newest file with content c: %+v, %t", r, ok)
		}
		if r, ok := j.ByOutput("ü <&>.png"); !ok || r.Outcome != done("ü <&>.png") {
			t.Errorf("output: %+v, %t", r, ok)
		}
		if r, ok := j.ByPath("b.jpg"); ok {
			t.Errorf("b.jpg has not ended: %+v", r)
		}
	}
	must(t, j.Ended("K1", 1, journal.Outcome{Status: journal.Skipped}))
	must(t, j.Ended("K2", 0, journal.Outcome{Status: journal.Lost}))
	j = reopen(t, path, j)
	if got := j.Batches(); len(got) != 0 {
		t.Errorf("all files have ended, but these batches are open: %+v", got)
	}
	if r, ok := j.ByPath("b.jpg"); ok {
		t.Errorf("b.jpg was skipped, and would not be sent: %+v", r)
	}
	if r, ok := j.ByContent(sha256.Sum256([]byte("d"))); !ok || r.Outcome.Status != journal.Lost {
		t.Errorf("content d: %+v, %t, want a lost file", r, ok)
	}
}

// TestTorn cuts a journal after each byte, as a crash does, and verifies that it opens with the complete lines, and
// that a further line is not appended to the piece.
func TestTorn(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "whole")
	j := open(t, path)
	must(t, j.Begin(journal.Batch{Key: "K", Files: []journal.File{file("a.jpg", "a"), file("b.jpg", "b")}}))
	must(t, j.Created("K", "J", at))
	must(t, j.Ended("K", 0, done("a.jpg")))
	must(t, j.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	for n := range whole {
		torn := filepath.Join(dir, "torn")
		must(t, os.WriteFile(torn, whole[:n], 0o600))
		j := open(t, torn)
		lines := bytes.Count(whole[:n], []byte("\n"))
		batches := j.Batches()
		_, ended := j.ByPath("a.jpg")
		if len(batches) != min(1, max(0, lines-1)) || len(batches) == 1 && (batches[0].JobID != "") != (lines >= 3) || ended != (lines >= 4) {
			t.Errorf("after %d bytes with %d lines: ended %t, %+v", n, lines, ended, batches)
		}
		must(t, j.Begin(journal.Batch{Key: "next", Files: []journal.File{file("c.jpg", "c")}}))
		j = reopen(t, torn, j)
		if now := j.Batches(); len(now) != len(batches)+1 || now[len(batches)].Key != "next" {
			t.Errorf("after %d bytes and a further batch: %+v", n, now)
		}
		must(t, j.Close())
	}
	// A power failure may leave zeros.
	must(t, os.WriteFile(path, append(whole, make([]byte, 100_000)...), 0o600))
	if j := open(t, path); len(j.Batches()) != 1 {
		t.Errorf("with zeros at the end: %+v", j.Batches())
	}
}

// TestLocked verifies that a journal cannot be opened twice, also after it was rewritten.
func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path)
	if _, err := journal.Open(path); !errors.Is(err, lockfile.ErrHeld) || !strings.Contains(err.Error(), path) {
		t.Errorf("opened twice: %v, want ErrHeld with the path", err)
	}
	must(t, j.Close())
	if err := j.Begin(journal.Batch{Key: "K", Files: []journal.File{file("a", "a")}}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("written after Close: %v", err)
	}
	open(t, path)
}

// TestNotUnderstood verifies that a journal with a line that this version does not know is refused and not changed.
func TestNotUnderstood(t *testing.T) {
	const start = `{"type":"journal","version":1}` + "\n"
	const batch = start + `{"type":"batch","key":"K","files":[{"path":"a","size":1,"time":"2026-11-28T18:00:00Z","sha256":"` +
		`ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"}]}` + "\n"
	for text, want := range map[string]string{
		`{"type":"journal","version":2,"salt":"x"}` + "\n": "version 2",
		"\n\n":                                   "line 1",
		`{"images":[]}` + "\n":                   "line 1",
		start + start:                            "second start",
		batch + strings.TrimPrefix(batch, start): `"K" exists`,
		batch + `{"type":"end","key":"K","index":1,"status":"failed"}` + "\n":                  "file 1",
		batch + `{"type":"end","key":"K","index":0,"status":"eaten"}` + "\n":                   `"eaten"`,
		batch + `{"type":"end","key":"K","index":0,"status":"failed","x":1}` + "\n":            "line 3",
		batch + `{"type":"pause"}` + "\n":                                                      `"pause"`,
		start + `{"type":"job","key":"K","job_id":"J","at":"2026-11-28T18:00:00Z"}` + "\n":     "not open",
		start + `{"type":"file","file":{"path":"a","sha256":"ca97"},"status":"failed"}` + "\n": "SHA-256",
		start + "garbage\n" + `{"type":"pause"}` + "\n":                                        "line 2",
	} {
		path := filepath.Join(t.TempDir(), "j")
		must(t, os.WriteFile(path, []byte(text), 0o600))
		if j, err := journal.Open(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s%v, want an error with the path and %q", text, err, want)
			if j != nil {
				must(t, j.Close())
			}
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != text {
			t.Errorf("%schanged to %s", text, after)
		}
	}
}

// TestRefused verifies that a call that makes no sense writes nothing, so that the journal still opens.
func TestRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path)
	must(t, j.Begin(journal.Batch{Key: "K", Files: []journal.File{file("a", "a"), file("b", "b")}}))
	must(t, j.Ended("K", 0, done("a")))
	for name, err := range map[string]error{
		"a batch twice":         j.Begin(journal.Batch{Key: "K", Files: []journal.File{file("a", "a")}}),
		"a batch without key":   j.Begin(journal.Batch{Files: []journal.File{file("a", "a")}}),
		"a batch without files": j.Begin(journal.Batch{Key: "L"}),
		"a path in Latin-1":     j.Begin(journal.Batch{Key: "L", Files: []journal.File{file("\xfc", "a")}}),
		"a job of no batch":     j.Created("L", "J", at),
		"an end of no file":     j.Ended("K", 2, done("c")),
		"an end twice":          j.Ended("K", 0, done("a")),
		"an end without status": j.Ended("K", 1, journal.Outcome{}),
	} {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if got := reopen(t, path, j).Batches(); len(got) != 1 || got[0].Key != "K" {
		t.Errorf("after all that: %+v", got)
	}
}

// TestRewrite verifies that a journal of few files that change often stays small, and that rewriting it keeps what the
// methods return.
func TestRewrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	// What a long run writes, without the time that syncing takes.
	text := bytes.NewBufferString(`{"type":"journal","version":1}` + "\n")
	const changes = 25_000
	for i := range changes {
		f := file("a.jpg", fmt.Sprint(i%100))
		fmt.Fprintf(text, `{"type":"batch","key":"K%d","files":[{"path":"a.jpg","size":%d,"time":"2026-11-28T18:00:00.000000123Z","sha256":"%s"}]}`+"\n", i, f.Size, f.SHA256)
		if i < changes-1 {
			fmt.Fprintf(text, `{"type":"end","key":"K%d","index":0,"status":"completed","output":"a.jpg","digest":"%s"}`+"\n", i, done(fmt.Sprint(i)).Digest)
		}
	}
	must(t, os.WriteFile(path, text.Bytes(), 0o600))
	must(t, os.WriteFile(path+".tmp", []byte("left by a crash"), 0o600))
	j := open(t, path)
	check := func() {
		t.Helper()
		for i := range 100 {
			last := changes - 100 + i
			if i == 99 {
				last -= 100 // its last batch is open
			}
			r, ok := j.ByContent(file("", fmt.Sprint(i)).SHA256)
			if !ok || r.File != file("a.jpg", fmt.Sprint(i)) || r.Outcome.Digest != done(fmt.Sprint(last)).Digest {
				t.Fatalf("content %d: %+v, %t", i, r, ok)
			}
		}
		if r, _ := j.ByOutput("a.jpg"); r.File.SHA256 != file("", "98").SHA256 {
			t.Errorf("newest output: %+v", r)
		}
		if b := j.Batches(); len(b) != 1 || b[0].Key != "K24999" || b[0].JobID != "" {
			t.Errorf("open batches: %+v", b)
		}
	}
	check()
	if info, err := os.Stat(path); err != nil || info.Size() > 100_000 {
		t.Errorf("the journal of 100 contents has %d bytes, %v", info.Size(), err)
	}
	if _, err := os.Stat(path + ".tmp"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary file is still there: %v", err)
	}
	must(t, j.Created("K24999", "J", at)) // the new file accepts lines
	j = reopen(t, path, j)
	if b := j.Batches(); len(b) != 1 || b[0].JobID != "J" {
		t.Errorf("open batches: %+v", b)
	}
}
