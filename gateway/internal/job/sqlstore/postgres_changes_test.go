package sqlstore

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// hold keeps all changes of the store waiting until the returned function is called.
func hold(t *testing.T, s *Store) (release func()) {
	t.Helper()
	e := s.engine.(*postgresEngine)
	for i := range e.shards {
		e.shards[i].turn <- struct{}{}
	}
	release = sync.OnceFunc(func() {
		for i := range e.shards {
			<-e.shards[i].turn
		}
	})
	t.Cleanup(release)
	return release
}

// queued returns when n changes are waiting.
func queued(t *testing.T, s *Store, n int) {
	t.Helper()
	e := s.engine.(*postgresEngine)
	for {
		waiting := 0
		for i := range e.shards {
			e.shards[i].mu.Lock()
			waiting += len(e.shards[i].waiting)
			e.shards[i].mu.Unlock()
		}
		if waiting == n {
			return
		}
		runtime.Gosched()
	}
}

// TestChangesOfATransaction verifies that changes that wait at the same time are committed together,
// and that each gets the result that it would have alone.
func TestChangesOfATransaction(t *testing.T) {
	t.Parallel()
	address := schema(t)
	s := openURL(t, address)
	ok(t, s.Create(t.Context(), newJob("job", 20)))
	boom := errors.New("boom")
	type result struct {
		after   *job.Job
		changed bool
		err     error
	}
	refs, transitions := make([]job.Ref, 25), make([]job.Transition, 25)
	for i := range refs {
		refs[i] = job.Ref{JobID: "job", Index: i % 20}
		transitions[i] = settled(refs[i])
	}
	refs[20].Index = 20            // no such image
	refs[21].JobID = "another job" // no such job
	transitions[22] = func(j *job.Job, img *job.Image) (bool, error) {
		j.Completed, img.Status = 99, job.Failed
		return true, boom
	}
	transitions[23] = func(*job.Job, *job.Image) (bool, error) { return false, nil }
	// The image 4 has two results.

	release := hold(t, s)
	results := make([]result, len(refs))
	var changing sync.WaitGroup
	for i := range refs {
		changing.Go(func() {
			r := &results[i]
			r.after, r.changed, r.err = s.Change(t.Context(), refs[i], transitions[i], t0)
		})
	}
	queued(t, s, len(refs))
	release()
	changing.Wait()

	revisions := map[int64]bool{}
	settles := 0
	for i, r := range results {
		var want error
		switch i {
		case 20, 21:
			want = job.ErrNotFound
		case 22:
			want = boom
		}
		if !errors.Is(r.err, want) {
			t.Errorf("change %d: error %v, want %v", i, r.err, want)
		}
		if r.changed {
			settles++
			revisions[r.after.Revision] = true
		}
	}
	if results[4].changed == results[24].changed {
		t.Errorf("the two results of one image: changed %t and %t", results[4].changed, results[24].changed)
	}
	if settles != 20 || len(revisions) != 20 {
		t.Errorf("%d changes with %d revisions, want 20 of each", settles, len(revisions))
	}
	j, err := s.Get(t.Context(), "job")
	ok(t, err)
	if j.Status != job.Completed || j.Completed != 20 || j.Revision != 21 {
		t.Errorf("job is %s, %d completed, revision %d", j.Status, j.Completed, j.Revision)
	}
	counts, err := s.Count(t.Context())
	ok(t, err)
	if counts != (job.Counts{Jobs: 1}) {
		t.Errorf("counts %+v", counts)
	}
	db := testDatabase{"postgres", address}.connect(t)
	defer db.Close()
	var transactions int
	ok(t, db.QueryRowContext(t.Context(), "SELECT count(DISTINCT xmin::text) FROM images").Scan(&transactions))
	if transactions != 1 {
		t.Errorf("%d transactions wrote the images, want 1", transactions)
	}
}

// TestChangeThatCannotBeWritten verifies that such a change fails alone.
func TestChangeThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	s := openURL(t, schema(t))
	ok(t, s.Create(t.Context(), newJob("job", 3)))
	release := hold(t, s)
	errs := make([]error, 3)
	var changing sync.WaitGroup
	for i := range errs {
		ref := job.Ref{JobID: "job", Index: i}
		transition := settled(ref)
		if i == 1 {
			transition = func(j *job.Job, img *job.Image) (bool, error) {
				changed, err := settled(ref)(j, img)
				img.Unsent = true // which the table does not allow for an image that has ended
				return changed, err
			}
		}
		changing.Go(func() { _, _, errs[i] = s.Change(t.Context(), ref, transition, t0) })
	}
	queued(t, s, len(errs))
	release()
	changing.Wait()
	if errs[0] != nil || errs[1] == nil || errors.Is(errs[1], job.ErrUnavailable) || errs[2] != nil {
		t.Errorf("errors %v, want one for the second change only", errs)
	}
	j, err := s.Get(t.Context(), "job")
	ok(t, err)
	if j.Completed != 2 || j.Images[1].Status != job.Processing {
		t.Errorf("%d completed, the image with the error is %s", j.Completed, j.Images[1].Status)
	}
}

// TestCallersThatLeave verifies that a change whose caller leaves while it waits is not made, that
// the others are, and that a caller's end does not interrupt the transaction that it runs.
func TestCallersThatLeave(t *testing.T) {
	t.Parallel()
	s := openURL(t, schema(t))
	ok(t, s.Create(t.Context(), newJob("job", 40)))
	ctx, leave := context.WithCancel(t.Context())
	release := hold(t, s)
	errs := make([]error, 40)
	var leaving, staying sync.WaitGroup
	for i := range errs {
		ref, ctx, group := job.Ref{JobID: "job", Index: i}, ctx, &leaving
		if i%2 == 1 {
			ctx, group = t.Context(), &staying
		}
		group.Go(func() { _, _, errs[i] = s.Change(ctx, ref, settled(ref), t0) })
	}
	queued(t, s, len(errs))
	leave()
	leaving.Wait()
	release()
	staying.Wait()
	j, err := s.Get(t.Context(), "job")
	ok(t, err)
	for i, img := range j.Images {
		if left := i%2 == 0; left != errors.Is(errs[i], context.Canceled) || left == img.Status.Ended() {
			t.Errorf("image %d, whose caller left: %t; it is %s, error %v", i, left, img.Status, errs[i])
		}
	}

	// The caller leaves during its transaction.
	ctx, leave = context.WithCancel(t.Context())
	ref := job.Ref{JobID: "job"}
	_, changed, err := s.Change(ctx, ref, func(j *job.Job, img *job.Image) (bool, error) {
		leave()
		return settled(ref)(j, img)
	}, t0.Add(time.Second))
	if err != nil || !changed {
		t.Errorf("change during which its caller left: changed %t, %v", changed, err)
	}
}
