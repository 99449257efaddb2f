package progress_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEventsOfAWholeJob(t *testing.T) {
	b := setup(t, progress.Config{})
	b.create("a", 3)
	b.settle("a", 2)
	w := b.subscribe("a")
	b.want(b.next(w), "progress: processing 1+0/3", "image_complete 2 completed: processing 1+0/3")
	if events, err := w.Next(); events != nil || err != nil {
		t.Errorf("without a change: %v, %v, want nil and nil", describe(events), err)
	}
	b.notify(b.settle("a", 1))
	b.want(b.next(w), "image_complete 1 failed: processing 1+1/3")
	b.notify(b.settle("a", 0))
	b.want(b.next(w), "image_complete 0 completed: completed 2+1/3", "job_complete: completed 2+1/3")
	if _, err := w.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v, want io.EOF", err)
	}
}

func TestEndedJobIsReportedByRevision(t *testing.T) {
	b := setup(t, progress.Config{})
	b.create("a", 3)
	for _, i := range []int{1, 2, 0} {
		b.settle("a", i)
	}
	w := b.subscribe("a")
	b.want(b.next(w), "progress: completed 2+1/3", "image_complete 1 failed: completed 2+1/3",
		"image_complete 2 completed: completed 2+1/3", "image_complete 0 completed: completed 2+1/3", "job_complete: completed 2+1/3")
}

func TestOnlyTheFirstStartIsProgress(t *testing.T) {
	b := setup(t, progress.Config{})
	images := []job.Image{{URL: "http://example.com/1"}, {URL: "http://example.com/2"}}
	if err := b.store.Create(t.Context(), job.New("a", images, start)); err != nil {
		t.Fatal(err)
	}
	mine, err := b.store.Claim(t.Context(), "me", start, start.Add(time.Hour), 1)
	if err != nil || len(mine) != 1 {
		t.Fatal(mine, err)
	}
	lease := mine[0].Lease
	w := b.subscribe("a")
	b.want(b.next(w), "progress: pending 0+0/2")
	begin := func(index int) {
		j, _, err := b.store.Change(t.Context(), job.Ref{JobID: "a", Index: index}, job.Start(lease, start), start)
		if err != nil {
			t.Fatal(err)
		}
		b.notify(j)
	}
	begin(0)
	b.want(b.next(w), "progress: processing 0+0/2")
	begin(1) // a step that clients cannot see
	b.want(b.next(w))
}

func TestSlowWatcherMissesNoImage(t *testing.T) {
	b := setup(t, progress.Config{})
	b.create("a", 3)
	slow, quick := b.subscribe("a"), b.subscribe("a")
	b.next(slow)
	b.next(quick)
	for i := range 3 {
		b.notify(b.settle("a", i))
		if got := b.next(quick); len(got) == 0 {
			t.Fatal("no events for the quick watcher")
		}
	}
	b.want(b.next(slow), "image_complete 0 completed: completed 2+1/3", "image_complete 1 failed: completed 2+1/3",
		"image_complete 2 completed: completed 2+1/3", "job_complete: completed 2+1/3")
}

// TestEncodeOnce verifies that watchers that get the same event share one call of the function
// that encodes it, and that a slow watcher's events are encoded with its newer counters.
func TestEncodeOnce(t *testing.T) {
	b := setup(t, progress.Config{})
	b.create("a", 3)
	calls := map[string]int{}
	encoded := func(w *progress.Watcher) (all []string) {
		t.Helper()
		<-w.Ready()
		events, err := w.Next()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			data, err := e.Encode(func(e progress.Event) ([]byte, error) {
				text := describe([]progress.Event{e})[0]
				calls[text]++
				return []byte(text), nil
			})
			if want := describe([]progress.Event{e})[0]; err != nil || string(data) != want {
				t.Errorf("got %q, %v; want %q", data, err, want)
			}
			all = append(all, string(data))
		}
		return all
	}
	slow := b.subscribe("a")
	encoded(slow)
	var quick []*progress.Watcher
	for range 5 {
		w := b.subscribe("a")
		encoded(w)
		quick = append(quick, w)
	}
	for i := range 3 {
		b.notify(b.settle("a", i))
		for _, w := range quick {
			encoded(w)
		}
	}
	for text, n := range calls {
		if n != 1 {
			t.Errorf("%q was encoded %d times", text, n)
		}
	}
	if got := encoded(slow); len(got) != 4 || got[0] != "image_complete 0 completed: completed 2+1/3" {
		t.Errorf("the slow watcher got %q", got)
	}
}

func TestOneReadForAllWatchers(t *testing.T) {
	b := setup(t, progress.Config{})
	b.create("a", 2)
	var watchers []*progress.Watcher
	for range 50 {
		w := b.subscribe("a")
		b.next(w)
		watchers = append(watchers, w)
	}
	before := b.reads.Load()
	b.notify(b.settle("a", 0))
	for _, w := range watchers {
		b.want(b.next(w), "image_complete 0 completed: processing 1+0/2")
	}
	if n := b.reads.Load() - before; n != 1 {
		t.Errorf("%d reads for one change, want 1", n)
	}
}

// TestWatchersShareARead verifies that watchers who arrive while the job is read share the next read.
func TestWatchersShareARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, progress.Config{})
		b.create("a", 2)
		gate := make(chan struct{})
		b.gate.Store(&gate)
		var subscribing sync.WaitGroup
		for range 50 {
			subscribing.Go(func() {
				w, err := b.hub.Subscribe(t.Context(), "a")
				if err != nil {
					t.Error(err)
					return
				}
				defer w.Close()
				if got, err := w.Next(); err != nil || len(got) != 1 {
					t.Errorf("Next = %v, %v, want one event", describe(got), err)
				}
			})
		}
		synctest.Wait() // until one read is at the gate and all subscribers wait
		close(gate)
		subscribing.Wait()
		if n := b.reads.Load(); n > 2 {
			t.Errorf("%d reads for 50 watchers, want at most 2", n)
		}
	})
}

func TestNotificationsMayBeLostRepeatedLateOrInvalid(t *testing.T) {
	b := setup(t, progress.Config{})
	b.create("a", 4)
	w := b.subscribe("a")
	b.next(w)
	first := b.settle("a", 0)
	second := b.settle("a", 1)
	b.notify(second)
	b.want(b.next(w), "image_complete 0 completed: processing 1+1/4", "image_complete 1 failed: processing 1+1/4")
	before := b.reads.Load()
	b.notify(first)
	b.notify(second)
	b.hub.Notify(pipeline.ChangeNotification{JobID: "unwatched", Revision: 9})
	b.hub.Receive([]byte("{"))
	if n := b.reads.Load() - before; n != 0 {
		t.Errorf("%d reads for old notifications, want 0", n)
	}
	b.hub.Receive([]byte(`{"job_id":"a","revision":1000}`)) // a revision that does not exist: one read, no event
	third := b.settle("a", 2)
	b.hub.Resumed()
	b.want(b.next(w), fmt.Sprintf("image_complete 2 completed: processing 2+1/%d", third.Total))
}

func TestRereadMakesUpForALostNotification(t *testing.T) {
	b := setup(t, progress.Config{Reread: 5 * time.Millisecond})
	b.create("a", 1)
	w := b.subscribe("a")
	b.next(w)
	b.settle("a", 0)
	b.want(b.next(w), "image_complete 0 completed: completed 1+0/1", "job_complete: completed 1+0/1")
}

// TestNotificationDuringARead verifies that a change during a read for another watcher does
// not wait for the next re-read.
func TestNotificationDuringARead(t *testing.T) {
	b := setup(t, progress.Config{})
	b.create("a", 2)
	w := b.subscribe("a")
	b.next(w)
	gate := make(chan struct{})
	b.gate.Store(&gate)
	before := b.found.Load()
	b.notify(b.settle("a", 0))
	for b.found.Load() == before { // until the read has its result from the store
		<-time.After(time.Millisecond)
	}
	b.notify(b.settle("a", 1))
	b.gate.Store(nil)
	close(gate)
	got := b.next(w)
	for len(got) < 3 {
		got = append(got, b.next(w)...)
	}
	if got[len(got)-1] != "job_complete: completed 1+1/2" {
		t.Errorf("got %q, want \"job_complete: completed 1+1/2\"", got)
	}
}

func TestRefusals(t *testing.T) {
	b := setup(t, progress.Config{MaxWatchers: 2})
	b.create("a", 1)
	if _, err := b.hub.Subscribe(t.Context(), "unknown"); !errors.Is(err, job.ErrNotFound) {
		t.Errorf("unknown job: %v, want job.ErrNotFound", err)
	}
	unavailable := fmt.Errorf("disk: %w", job.ErrUnavailable)
	b.fault.Store(&unavailable)
	if _, err := b.hub.Subscribe(t.Context(), "a"); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("store unavailable: %v, want job.ErrUnavailable", err)
	}
	b.fault.Store(nil)
	gate := make(chan struct{})
	b.gate.Store(&gate)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.hub.Subscribe(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v, want context.Canceled", err)
	}
	b.gate.Store(nil)
	close(gate)
	one := b.subscribe("a") // the watchers above must no longer count
	b.subscribe("a")
	if _, err := b.hub.Subscribe(t.Context(), "a"); !errors.Is(err, progress.ErrFull) {
		t.Errorf("one too many: %v, want progress.ErrFull", err)
	}
	one.Close()
	one.Close()
	b.subscribe("a")
}

// TestSkip follows a job by its state alone, without events.
func TestSkip(t *testing.T) {
	b := setup(t, progress.Config{})
	b.create("a", 2)
	w := b.subscribe("a")
	state := func() string {
		if err := w.Skip(); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s %d+%d", w.Job().Status, w.Job().Completed, w.Job().Failed)
	}
	b.want([]string{state(), state()}, "processing 0+0", "processing 0+0")
	for i, want := range []string{"processing 1+0", "completed 1+1"} {
		b.notify(b.settle("a", i))
		<-w.Ready()
		b.want([]string{state()}, want)
	}
	b.create("b", 1)
	w = b.subscribe("b")
	b.want([]string{state()}, "processing 0+0")
	gone := fmt.Errorf("changes: %w", job.ErrNotFound)
	b.fault.Store(&gone)
	b.hub.Resumed()
	<-w.Ready()
	b.want([]string{state(), state()}, progress.ErrGone.Error(), progress.ErrGone.Error())
}

func TestDeletedJob(t *testing.T) {
	b := setup(t, progress.Config{})
	b.create("a", 2)
	w := b.subscribe("a")
	b.next(w)
	gone := fmt.Errorf("changes: %w", job.ErrNotFound)
	b.fault.Store(&gone)
	b.hub.Resumed()
	b.want(b.next(w), progress.ErrGone.Error())
	b.want(b.next(w), progress.ErrGone.Error())
}

func TestOutageEndsNoWatch(t *testing.T) {
	b := setup(t, progress.Config{Reread: 5 * time.Millisecond})
	b.create("a", 1)
	w := b.subscribe("a")
	b.next(w)
	unavailable := fmt.Errorf("changes: %w", job.ErrUnavailable)
	b.fault.Store(&unavailable)
	before := b.reads.Load()
	b.notify(b.settle("a", 0))
	for b.reads.Load() < before+3 {
		<-time.After(time.Millisecond)
	}
	b.fault.Store(nil)
	b.want(b.next(w), "image_complete 0 completed: completed 1+0/1", "job_complete: completed 1+0/1")
}

func TestHubClose(t *testing.T) {
	b := setup(t, progress.Config{})
	b.create("a", 1)
	ctx, cancel := context.WithCancel(t.Context())
	hub := progress.New(progress.Config{}, b, slog.New(slog.DiscardHandler), telemetry.NewRegistry())
	done := make(chan struct{})
	go func() {
		defer close(done)
		hub.Run(ctx)
	}()
	w, err := hub.Subscribe(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	b.next(w)
	cancel()
	<-done
	b.want(b.next(w), progress.ErrClosed.Error())
	if _, err := hub.Subscribe(t.Context(), "a"); !errors.Is(err, progress.ErrClosed) {
		t.Errorf("after the end: %v, want progress.ErrClosed", err)
	}
}

// TestResume verifies that a watcher that resumes receives what happened after its revision,
// and everything if the job has not reached the revision.
func TestResume(t *testing.T) {
	b := setup(t, progress.Config{})
	b.create("a", 4)
	b.settle("a", 2)
	j := b.settle("a", 1)
	resume := func(revision int64) *progress.Watcher {
		w := b.subscribe("a")
		w.Resume(revision)
		return w
	}
	const now, second, first = "progress: processing 1+1/4", "image_complete 1 failed: processing 1+1/4", "image_complete 2 completed: processing 1+1/4"
	b.want(b.next(resume(0)), now, first, second)
	b.want(b.next(resume(j.Revision-1)), now, second)
	b.want(b.next(resume(j.Revision+1)), now, first, second)
	w := resume(j.Revision)
	b.want(b.next(w))
	b.notify(b.settle("a", 0))
	b.want(b.next(w), "image_complete 0 completed: processing 2+1/4")
	j = b.settle("a", 3)
	b.want(b.next(resume(j.Revision)), "job_complete: completed 2+2/4") // every stream ends with it
}
