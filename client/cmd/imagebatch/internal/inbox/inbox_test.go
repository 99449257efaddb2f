package inbox_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/client"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/inbox"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/journal"
	"github.com/imagebatch/imagebatch/client/cmd/imagebatch/internal/lockfile"
)

// TestOnce verifies that each content is sent once and each file gets its result: also a file that was renamed, copied,
// touched or edited after an earlier run.
func TestOnce(t *testing.T) {
	r := setup(t)
	r.put("a.jpg", "A")
	r.put("sub/b.jpg", "B")
	r.put("sub/deep/c.jpg", "C")
	r.put("same.jpg", "A") // sent once, with a.jpg
	r.ok(4, 0, 0, 0)
	r.received("a.jpg: A", "sub/b.jpg: B", "sub/deep/c.jpg: C")
	r.expect(r.config.Out, "a.jpg: result of A", "same.jpg: result of A", "sub/b.jpg: result of B", "sub/deep/c.jpg: result of C")
	r.ok(0, 0, 0, 0)

	in := r.config.In
	r.must(os.Rename(filepath.Join(in, "sub/b.jpg"), filepath.Join(in, "renamed.jpg")))
	r.must(os.Chtimes(filepath.Join(in, "a.jpg"), time.Unix(0, 0), time.Unix(0, 0)))
	r.put("sub/deep/c.jpg", "edited")
	r.ok(3, 0, 0, 0)
	r.event(inbox.Copied, "renamed.jpg")
	r.received("a.jpg: A", "sub/b.jpg: B", "sub/deep/c.jpg: C", "sub/deep/c.jpg: edited")
	r.expect(r.config.Out, "a.jpg: result of A", "renamed.jpg: result of B", "same.jpg: result of A", "sub/b.jpg: result of B", "sub/deep/c.jpg: result of edited")
	r.ok(0, 0, 0, 0)

	// The result of the first content was replaced, so it is needed again.
	r.put("sub/deep/c.jpg", "C")
	r.ok(1, 0, 0, 0)
	r.event(inbox.Completed, "sub/deep/c.jpg")
	r.ok(0, 0, 0, 0)
}

// TestForeign verifies that a file in the folder of results that is not ours stays, and that a result that was edited counts
// as one.
func TestForeign(t *testing.T) {
	r := setup(t)
	r.must(os.WriteFile(filepath.Join(r.config.Out, "a.jpg"), []byte("foreign"), 0o600))
	r.put("a.jpg", "A")
	r.put("b.jpg", "B")
	r.ok(2, 0, 0, 0)
	if e := r.event(inbox.Completed, "a.jpg"); e.Output != "a (2).jpg" {
		t.Errorf("output of a.jpg: %q", e.Output)
	}
	r.must(os.WriteFile(filepath.Join(r.config.Out, "b.jpg"), []byte("edited"), 0o600))
	r.put("b.jpg", "B2")
	r.put("a (2).jpg", "another file, whose name ours has")
	r.ok(2, 0, 0, 0)
	r.expect(r.config.Out, "a (2) (2).jpg: result of another file, whose name ours has", "a (2).jpg: result of A", "a.jpg: foreign",
		"b (2).jpg: result of B2", "b.jpg: edited")
}

// TestFailed verifies that a failed file is sent again only when its content changes, or with Resend, and that its original is
// moved.
func TestFailed(t *testing.T) {
	r := setup(t)
	r.put("a.jpg", "BAD")
	r.put("b.jpg", "B")
	r.put("large.jpg", strings.Repeat("x", 1000))
	r.ok(1, 2, 0, 0)
	if e := r.event(inbox.Failed, "a.jpg"); e.Error != "Damaged" {
		t.Errorf("error: %q", e.Error)
	}
	r.event(inbox.Failed, "large.jpg")
	r.ok(0, 0, 0, 0)
	r.put("again.jpg", "BAD")
	r.ok(0, 1, 0, 0)
	r.received("a.jpg: BAD", "b.jpg: B")
	r.must(os.Remove(filepath.Join(r.config.In, "again.jpg")))
	r.must(os.Remove(filepath.Join(r.config.In, "large.jpg")))
	r.config.Resend = true
	r.ok(0, 1, 0, 0)
	r.received("a.jpg: BAD", "a.jpg: BAD", "b.jpg: B")
	r.config.Resend = false
	r.config.Failed = filepath.Join(r.config.Out, "..", "failed")
	r.ok(0, 0, 0, 0)
	r.event(inbox.Moved, "a.jpg")
	r.expect(r.config.Failed, "a.jpg: BAD")
	r.put("a.jpg", "good")
	r.ok(1, 0, 0, 0)
	r.expect(r.config.In, "a.jpg: good", "b.jpg: B")
}

// TestDone verifies that originals are moved when their results are there, and that no file in DONE is replaced.
func TestDone(t *testing.T) {
	r := setup(t)
	r.config.Done = filepath.Join(r.config.Out, "..", "done")
	r.put("sub/a.jpg", "A")
	r.ok(1, 0, 0, 0)
	r.put("sub/a.jpg", "A2")
	r.put("sub/b.jpg", "A")
	r.ok(2, 0, 0, 0)
	r.put("sub/b.jpg", "A") // is in DONE already
	r.ok(1, 0, 0, 0)
	r.received("sub/a.jpg: A", "sub/a.jpg: A2")
	r.expect(r.config.In)
	r.expect(r.config.Done, "sub/a (2).jpg: A2", "sub/a.jpg: A", "sub/b.jpg: A")
	r.expect(r.config.Out, "sub/a.jpg: result of A2", "sub/b.jpg: result of A")

	// A file that changes before it is moved stays, and its new content is sent.
	r.put("c.jpg", "C")
	changed := false
	r.react = func(e inbox.Event) {
		if e.Type == inbox.Completed && !changed {
			changed = true
			r.put("c.jpg", "changed")
		}
	}
	r.ok(2, 0, 0, 0)
	r.expect(r.config.In)
	r.received("c.jpg: C", "c.jpg: changed", "sub/a.jpg: A", "sub/a.jpg: A2")
}

// TestResume verifies that a batch whose response was lost is sent again under its key, and that nothing is sent twice, even
// if one of its files has changed or is gone by then.
func TestResume(t *testing.T) {
	for name, change := range map[string]func(r *rig) (completed int, sent []string){
		"unchanged": func(*rig) (int, []string) { return 2, []string{"a.jpg: A", "b.jpg: B"} },
		"changed": func(r *rig) (int, []string) {
			r.put("a.jpg", "A2")
			return 2, []string{"a.jpg: A", "a.jpg: A2", "b.jpg: B"}
		},
		"gone": func(r *rig) (int, []string) {
			r.must(os.Remove(filepath.Join(r.config.In, "b.jpg")))
			return 1, []string{"a.jpg: A", "b.jpg: B"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			r.lose = 1
			r.put("a.jpg", "A")
			r.put("b.jpg", "B")
			if _, err := r.run(t.Context()); err == nil {
				t.Fatal("the response was lost, and there is no error")
			}
			completed, sent := change(r)
			r.ok(completed, 0, 0, 0)
			r.event(inbox.Resumed, "")
			r.received(sent...)
			for _, j := range r.jobs[:len(r.jobs)-1] {
				if j.key == r.jobs[len(r.jobs)-1].key {
					t.Errorf("two jobs have the key %s", j.key)
				}
			}
		})
	}
}

// TestChanged verifies that a file that changes after it was hashed is not recorded as sent: its new content is.
func TestChanged(t *testing.T) {
	r := setup(t)
	r.put("a.jpg", "A")
	r.put("b.jpg", "B")
	changed := false
	r.react = func(e inbox.Event) {
		if e.Counts.Sending == 2 && !changed {
			changed = true
			r.put("a.jpg", "Z")
		}
	}
	r.ok(2, 0, 0, 0)
	r.event(inbox.Skipped, "a.jpg")
	r.received("a.jpg: Z", "b.jpg: B")
	r.expect(r.config.Out, "a.jpg: result of Z", "b.jpg: result of B")
}

// TestLost verifies that a file whose job the gateway has deleted is reported, and sent again only with Resend, but that a 404 of
// a proxy is no such thing.
func TestLost(t *testing.T) {
	r := setup(t)
	r.put("a.jpg", "A")
	r.react = func(e inbox.Event) {
		if e.Type == inbox.Sent {
			r.set(func() { r.down = true })
		}
	}
	if _, err := r.run(t.Context()); err == nil {
		t.Fatal("the gateway is down, and there is no error")
	}
	r.react = nil
	r.set(func() { r.down, r.proxy = false, true })
	if _, err := r.run(t.Context()); err == nil {
		t.Fatal("a proxy responded, and there is no error")
	}
	r.set(func() { r.proxy, r.gone = false, true })
	r.ok(0, 0, 1, 0)
	r.event(inbox.Lost, "a.jpg")
	r.ok(0, 0, 0, 0)
	r.put("copy.jpg", "A")
	r.ok(0, 0, 1, 0)
	r.received("a.jpg: A")
	r.set(func() { r.gone = false })
	r.config.Resend = true
	r.ok(2, 0, 0, 0)
	r.expect(r.config.Out, "a.jpg: result of A", "copy.jpg: result of A")

	// A result that was taken away is not fetched again.
	r.config.Resend = false
	r.must(os.Remove(filepath.Join(r.config.Out, "a.jpg")))
	r.must(os.Remove(filepath.Join(r.config.Out, "copy.jpg")))
	r.ok(0, 0, 0, 0)
	r.put("third.jpg", "A")
	r.ok(0, 0, 1, 0)
	r.set(func() {
		r.files = func(w http.ResponseWriter, _ *http.Request) {
			respond(w, 404, map[string]any{"error": "No result: that of images[0] is no longer kept", "status": 404})
		}
	})
	r.put("d.jpg", "D")
	r.ok(0, 0, 1, 0)
}

// TestNotWritten verifies that a result that cannot be written is a problem, keeps no other file from its result, and is fetched
// later without sending the file again.
func TestNotWritten(t *testing.T) {
	r := setup(t)
	r.must(os.WriteFile(filepath.Join(r.config.Out, "sub"), nil, 0o600)) // in the place of a folder
	r.put("a.jpg", "A")
	r.put("sub/b.jpg", "B")
	r.put("z.jpg", "Z")
	for range 2 {
		counts, err := r.run(t.Context())
		if _, local := errors.AsType[*inbox.LocalError](err); !local || counts.Problems != 1 {
			t.Errorf("run: %+v, %v, want one problem and a LocalError", counts, err)
		}
		r.expect(r.config.Out, "a.jpg: result of A", "sub: ", "z.jpg: result of Z")
	}
	r.put("sub/copy.jpg", "A") // has a result, which cannot be copied
	counts, err := r.run(t.Context())
	if _, local := errors.AsType[*inbox.LocalError](err); !local || counts.Problems != 2 {
		t.Errorf("run: %+v, %v, want two problems and a LocalError", counts, err)
	}
	r.must(os.Remove(filepath.Join(r.config.Out, "sub")))
	r.ok(2, 0, 0, 0)
	r.received("a.jpg: A", "sub/b.jpg: B", "z.jpg: Z")
}

// TestUnavailable verifies that Run waits for the gateway, says so once, and does not lose its place.
func TestUnavailable(t *testing.T) {
	r := setup(t)
	r.config.Once = false
	r.put("a.jpg", "A")
	r.set(func() { r.down = true })
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	waiting := 0
	r.react = func(e inbox.Event) {
		switch e.Type {
		case inbox.Waiting:
			if waiting++; waiting == 1 {
				// The batch is in work when the gateway fails again.
				r.set(func() { r.down = false; r.lose = 1 })
			}
		case inbox.Completed:
			stop()
		default:
		}
	}
	if _, err := r.run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("run: %v", err)
	}
	if waiting != 2 {
		t.Errorf("%d times waiting, want 2: for the limits and for the batch", waiting)
	}
	r.received("a.jpg: A")
	r.expect(r.config.Out, "a.jpg: result of A")
}

// TestRefused verifies that a refusal ends the run, and that an unknown key keeps the batch for later.
func TestRefused(t *testing.T) {
	r := setup(t)
	r.put("a.jpg", "A")
	r.maxImages = 3
	refuse := 401
	inner := r.Config.Handler
	r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if refuse != 0 && req.Method == http.MethodPost {
			respond(w, refuse, map[string]any{"error": "refused", "status": refuse})
			return
		}
		inner.ServeHTTP(w, req)
	})
	for _, status := range []int{401, 413} {
		refuse = status
		r.config.Once = status == 401
		_, err := r.run(t.Context())
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != status {
			t.Errorf("run: %v, want %d", err, status)
		}
	}
	refuse = 0
	r.config.Once = true
	r.ok(1, 0, 0, 0)
	r.received("a.jpg: A")
}

// TestLocked verifies that two processes do not work on the same results.
func TestLocked(t *testing.T) {
	r := setup(t)
	j, err := journal.Open(filepath.Join(r.config.Out, ".imagebatch.jsonl"))
	r.must(err)
	if _, err := r.run(t.Context()); !errors.Is(err, lockfile.ErrHeld) {
		t.Errorf("run: %v", err)
	}
	r.must(j.Close())
	r.ok(0, 0, 0, 0)
}

// TestCaptions verifies that the model is announced before the first image is sent, that images without a caption are
// counted, and that with NoCaptions each request says that no model may see its images.
func TestCaptions(t *testing.T) {
	for _, off := range []bool{false, true} {
		r := setup(t)
		var announced []client.Captions
		r.config.NoCaptions = off
		r.config.Captions = func(m *client.Captions) {
			announced = append(announced, *m)
			if sent := r.sent(); len(sent) > 0 {
				t.Errorf("announced after %q were sent", sent)
			}
		}
		for _, name := range []string{"a.jpg", "b.jpg ODD", "c.jpg", "d.jpg ODD"} {
			r.put(strings.Fields(name)[0], name)
		}
		counts, err := r.run(t.Context())
		if err != nil || counts.Completed != 4 || counts.Uncaptioned != 2 {
			t.Errorf("counts %+v, %v, want 4 completed images, 2 of them without a caption", counts, err)
		}
		if off != (len(announced) == 0) || len(announced) > 1 || !off && announced[0] != (client.Captions{Model: "M", Host: "H"}) {
			t.Errorf("with NoCaptions %t, %+v was announced", off, announced)
		}
		for _, j := range r.jobs {
			if off != (j.captions != nil && !*j.captions) {
				t.Errorf("with NoCaptions %t, the job has the option %v", off, j.captions)
			}
		}
	}
}
