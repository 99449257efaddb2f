package progress_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// bench is a hub over a real store. It counts the reads and can make them fail.
type bench struct {
	testing.TB
	store *sqlstore.Store
	hub   *progress.Hub
	reads atomic.Int64
	found atomic.Int64 // reads that have got their result from the store
	fault atomic.Pointer[error]
	gate  atomic.Pointer[chan struct{}] // if set, a read waits for it before it returns
}

func (b *bench) Changes(ctx context.Context, id string, after int64) (*job.Job, error) {
	b.reads.Add(1)
	if err := b.fault.Load(); err != nil {
		return nil, *err
	}
	gate := b.gate.Load()
	j, err := b.store.Changes(ctx, id, after)
	b.found.Add(1)
	if gate != nil {
		<-*gate // the result becomes stale
	}
	return j, err
}

func setup(t testing.TB, c progress.Config) *bench {
	t.Helper()
	if c.Reread == 0 {
		c.Reread = time.Hour
	}
	log := slog.New(slog.DiscardHandler)
	store, err := sqlstore.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "jobs.db"), log)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{TB: t, store: store}
	b.hub = progress.New(c, b, log, telemetry.NewRegistry())
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.hub.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

var start = time.Date(2025, 11, 18, 10, 30, 0, 0, time.UTC)

// create stores a job of n inline images.
func (b *bench) create(id string, n int) {
	b.Helper()
	images := make([]job.Image, n)
	for i := range images {
		images[i].OriginalFilename = fmt.Sprintf("image%d.jpg", i)
		images[i].Original = job.Original{Path: fmt.Sprintf("%s/%d", id, i), ContentType: "image/jpeg", Size: 1, SHA256: "00"}
	}
	if err := b.store.Create(b.Context(), job.New(id, images, start)); err != nil {
		b.Fatal(err)
	}
}

// settle ends an image. Images with an odd index fail.
func (b *bench) settle(id string, index int) *job.Job {
	b.Helper()
	now := start.Add(time.Second)
	r := pipeline.Ended(pipeline.NewEnvelope(id, index, now), fmt.Sprintf("%s/image%d.jpg", id, index), now)
	if index%2 == 1 {
		r = (&pipeline.Failure{Code: pipeline.CodeDamaged, Text: "Damaged image"}).Result(r.Envelope, now)
	}
	j, _, err := b.store.Change(b.Context(), job.Ref{JobID: id, Index: index}, job.Settle(r, now), now)
	if err != nil {
		b.Fatal(err)
	}
	return j
}

func (b *bench) notify(j *job.Job) {
	b.hub.Notify(pipeline.ChangeNotification{JobID: j.ID, Revision: j.Revision})
}

func (b *bench) subscribe(id string) *progress.Watcher {
	b.Helper()
	w, err := b.hub.Subscribe(b.Context(), id)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(w.Close)
	return w
}

// next waits for the next events of a watcher.
func (b *bench) next(w *progress.Watcher) []string {
	b.Helper()
	select {
	case <-w.Ready():
	case <-time.After(10 * time.Second):
		b.Fatal("no events")
	}
	events, err := w.Next()
	if err != nil {
		return []string{err.Error()}
	}
	return describe(events)
}

// describe formats events as text: kind, image, the job's counters.
func describe(events []progress.Event) (words []string) {
	for _, e := range events {
		s := string(e.Kind)
		if e.Image != nil {
			s += fmt.Sprintf(" %d %s", e.Image.Index, e.Image.Status)
		}
		words = append(words, fmt.Sprintf("%s: %s %d+%d/%d", s, e.Job.Status, e.Job.Completed, e.Job.Failed, e.Job.Total))
	}
	return words
}

func (b *bench) want(got []string, want ...string) {
	b.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.Fatalf("got  %q\nwant %q", got, want)
	}
}
