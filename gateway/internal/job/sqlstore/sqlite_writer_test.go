package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

func openStore(t testing.TB, logLimit int64) *Store {
	t.Helper()
	s, err := openSQLite(t.Context(), filepath.Join(t.TempDir(), "jobs.db"), quiet, logLimit)
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	return s
}

// bigJob returns a job of a hundred images whose originals are stored.
func bigJob(id string) *job.Job { return newJob(id, 100) }

// file returns the store's engine.
func file(s *Store) *sqliteEngine { return s.engine.(*sqliteEngine) }

// occupy blocks the writer until the returned function is called.
func occupy(t *testing.T, s *Store) (release func()) {
	t.Helper()
	busy, free := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := s.write(t.Context(), func(context.Context, *session) error {
			close(busy)
			<-free
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-busy
	return func() { close(free); wg.Wait() }
}

// enqueue starts a write and returns when it waits for the writer.
func enqueue(ctx context.Context, s *Store, do func(context.Context, *session) error) (answer chan error) {
	answer = make(chan error, 1)
	before := len(file(s).queue)
	go func() { answer <- s.write(ctx, do) }()
	for len(file(s).queue) == before {
		runtime.Gosched()
	}
	return answer
}

// TestGroup verifies that waiting writes are committed together, each with its own result.
func TestGroup(t *testing.T) {
	s := openStore(t, logLimit)
	file(s).groupTime = time.Hour // no time limit, for slow machines
	boom := errors.New("boom")
	var sessions []*session
	creates := func(id string, result error) func(context.Context, *session) error {
		return func(ctx context.Context, x *session) error {
			sessions = append(sessions, x)
			return errors.Join(x.create(ctx, newJob(id, 2)), result)
		}
	}
	cancelled, cancel := context.WithCancel(t.Context())

	release := occupy(t, s)
	first := enqueue(t.Context(), s, creates("first", nil))
	refused := enqueue(t.Context(), s, creates("refused", boom))
	gone := enqueue(cancelled, s, creates("gone", nil))
	last := enqueue(t.Context(), s, creates("last", nil))
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) { // before the writer is free
		t.Errorf("the withdrawn write: %v", err)
	}
	release()

	ok(t, <-first)
	ok(t, <-last)
	if err := <-refused; !errors.Is(err, boom) {
		t.Errorf("the write that failed: %v", err)
	}
	if len(sessions) != 3 || sessions[0] != sessions[1] {
		t.Errorf("the waiting writes were not run together: %v", sessions)
	}
	for id, want := range map[string]error{"first": nil, "refused": job.ErrNotFound, "gone": job.ErrNotFound, "last": nil} {
		if _, err := s.Get(t.Context(), id); !errors.Is(err, want) {
			t.Errorf("job %q: %v, want %v", id, err, want)
		}
	}
	counts, err := s.Count(t.Context())
	ok(t, err)
	if counts.Jobs != 2 || counts.OpenImages != 4 || counts.Unsent != 4 {
		t.Errorf("counts: %+v", counts)
	}
}

// TestSlowWriteEndsItsGroup verifies that a slow write does not delay the results of the writes
// before it.
func TestSlowWriteEndsItsGroup(t *testing.T) {
	s := openStore(t, logLimit)
	release := occupy(t, s)
	next := make(chan struct{})
	long := enqueue(t.Context(), s, func(context.Context, *session) error {
		<-time.After(groupTime)
		return nil
	})
	after := enqueue(t.Context(), s, func(context.Context, *session) error {
		<-next
		return nil
	})
	release()
	ok(t, <-long) // although the next one has not ended
	close(next)
	ok(t, <-after)
}

// TestQueueIsBounded verifies that callers beyond the queue limit wait only until their context
// ends.
func TestQueueIsBounded(t *testing.T) {
	s := openStore(t, logLimit)
	release := occupy(t, s)
	nothing := func(context.Context, *session) error { return nil }
	var waiting sync.WaitGroup
	for range queueLimit {
		waiting.Go(func() {
			if err := s.write(t.Context(), nothing); err != nil {
				t.Error(err)
			}
		})
	}
	for len(file(s).queue) < queueLimit {
		runtime.Gosched()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.write(ctx, nothing); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one too many: %v", err)
	}
	release()
	waiting.Wait()
}

// TestClose verifies that Close waits for started writes and rejects later ones.
func TestClose(t *testing.T) {
	s := openStore(t, logLimit)
	release := occupy(t, s)
	queued := enqueue(t.Context(), s, func(ctx context.Context, x *session) error { return x.create(ctx, bigJob("a")) })
	var closing sync.WaitGroup
	closing.Go(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	<-s.closing
	if err := s.Create(t.Context(), bigJob("b")); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("create while closing: %v", err)
	}
	release()
	ok(t, <-queued)
	closing.Wait()
	_, err := s.Get(t.Context(), "a")
	if !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("get after close: %v", err)
	}
	if err := s.Ready(t.Context()); !errors.Is(err, job.ErrUnavailable) {
		t.Errorf("ready after close: %v", err)
	}
	again, err := OpenSQLite(t.Context(), file(s).path, quiet)
	ok(t, err)
	_, err = again.Get(t.Context(), "a")
	ok(t, errors.Join(err, again.Close()))
}

// limitPages limits the size of the database; 1 stands for its current size.
func limitPages(t *testing.T, s *Store, pages int) {
	t.Helper()
	_, err := file(s).writer.pool.ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages))
	ok(t, err)
}

const noLimit = 1 << 30

// TestDiskFull verifies that the store reports a full disk, can still be read and recovers by
// itself.
func TestDiskFull(t *testing.T) {
	s := openStore(t, logLimit)
	ok(t, s.Create(t.Context(), bigJob("before")))
	limitPages(t, s, 1)
	var err error
	for i := 0; err == nil; i++ {
		err = s.Create(t.Context(), bigJob(fmt.Sprintf("job %d", i)))
	}
	if !errors.Is(err, job.ErrUnavailable) {
		t.Fatalf("create on a full disk: %v", err)
	}
	for range 2 { // first by its own attempt, then by its recorded error
		if err := s.Ready(t.Context()); !errors.Is(err, job.ErrUnavailable) || !strings.Contains(err.Error(), "full") {
			t.Errorf("ready on a full disk: %v", err)
		}
	}

	j, err := s.Get(t.Context(), "before")
	ok(t, err)
	if len(j.Images) != 100 {
		t.Errorf("%d images", len(j.Images))
	}
	_, err = s.Changes(t.Context(), "before", 0)
	ok(t, err)
	listed := listAll(t, s)
	counts, err := s.Count(t.Context())
	ok(t, err)
	if counts.Jobs != len(listed) || counts.OpenImages != 100*len(listed) {
		t.Errorf("%d jobs are listed, counts are %+v", len(listed), counts)
	}

	limitPages(t, s, noLimit)
	t.Run("recovers with the next write", func(t *testing.T) {
		ok(t, s.Create(t.Context(), bigJob("after")))
		ok(t, s.Ready(t.Context()))
	})
	t.Run("recovers with the probe", func(t *testing.T) {
		limitPages(t, s, 1)
		for err = nil; err == nil; {
			err = s.Create(t.Context(), bigJob(fmt.Sprintf("late %p", &err)))
		}
		limitPages(t, s, noLimit)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for s.Ready(t.Context()) != nil {
			<-tick.C
		}
	})
}

// TestOutageInGroup verifies that a group fails as a whole on a full disk, and that the writes
// that wait behind it are attempted separately.
func TestOutageInGroup(t *testing.T) {
	s := openStore(t, logLimit)
	file(s).groupTime = time.Hour // no time limit, for slow machines
	ok(t, s.Create(t.Context(), bigJob("before")))
	release := occupy(t, s)
	settles := func(index int) func(context.Context, *session) error {
		return func(ctx context.Context, x *session) error {
			ref := job.Ref{JobID: "before", Index: index}
			return x.change(ctx, []*change{{ref: ref, transition: settled(ref), now: t0}})
		}
	}
	small := enqueue(t.Context(), s, settles(1))
	big := enqueue(t.Context(), s, func(ctx context.Context, x *session) error {
		if err := x.script(ctx, "PRAGMA max_page_count = 1"); err != nil {
			return err
		}
		for i := range 100 {
			if err := x.create(ctx, bigJob(fmt.Sprintf("big %d", i))); err != nil {
				return err
			}
		}
		return nil
	})
	behind := enqueue(t.Context(), s, settles(2))
	release()
	for name, answer := range map[string]chan error{"small": small, "big": big} {
		if err := <-answer; !errors.Is(err, job.ErrUnavailable) {
			t.Errorf("the %s write: %v", name, err)
		}
	}
	ok(t, <-behind)
	j, err := s.Get(t.Context(), "before")
	ok(t, err)
	if j.Completed != 1 || j.Images[1].Status.Ended() || !j.Images[2].Status.Ended() {
		t.Errorf("after the outage: %+v", j)
	}
	counts, err := s.Count(t.Context())
	ok(t, err)
	if counts.Jobs != 1 || counts.OpenImages != 99 || counts.Unsent != 99 {
		t.Errorf("counts: %+v", counts)
	}
}

// TestWriteAheadLogIsLimited verifies that the size of the write-ahead log is limited even if
// there is never a moment without a read.
func TestWriteAheadLogIsLimited(t *testing.T) {
	const limit = 512 << 10
	s := openStore(t, limit)
	ok(t, s.Create(t.Context(), newJob("read", 1)))
	stop := make(chan struct{})
	var reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := s.Get(t.Context(), "read"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var longest int64
	for i := range 30 {
		ok(t, s.Create(t.Context(), bigJob(fmt.Sprint(i))))
		info, err := os.Stat(file(s).path + "-wal")
		ok(t, err)
		longest = max(longest, info.Size())
	}
	close(stop)
	reading.Wait()
	if longest > 4*limit { // without it, nearly seven times as much
		t.Errorf("the log grew to %d bytes", longest)
	}
}
