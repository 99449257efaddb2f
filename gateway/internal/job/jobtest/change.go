package jobtest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func testChange(t *testing.T, open func(*testing.T) Store) {
	t.Run("from the fetch to the end", func(t *testing.T) {
		s := open(t)
		l := job.Lease{Owner: "a", Until: at(15)}
		j := create(t, s, leased(fetchJob(2, t0), l))
		ref := job.Ref{JobID: j.ID, Index: 1}

		got := change(t, s, ref, job.Start(l, at(1)), at(1))
		same(t, "returned images", len(got.Images), 0)
		same(t, "status", got.Status, job.Processing)
		same(t, "revision", got.Revision, int64(2))
		same(t, "updated", got.UpdatedAt, at(1))

		change(t, s, ref, job.Fetched(l, original(j.ID, 1)), at(2))
		img := get(t, s, j.ID).Images[1]
		same(t, "original", img.Original, original(j.ID, 1))
		if !img.Unsent || img.Send != 1 || img.Revision != 3 || !img.StartTime.Equal(at(1)) {
			t.Fatalf("fetched image: %+v", img)
		}

		got = change(t, s, ref, job.Settle(completed(ref), at(3)), at(3))
		same(t, "completed", got.Completed, 1)
		other := job.Ref{JobID: j.ID}
		got = change(t, s, other, job.Settle(failed(other), at(4)), at(4))
		same(t, "status", got.Status, job.Completed)
		same(t, "completed at", got.CompletedAt, at(4))

		whole := get(t, s, j.ID)
		ok(t, addUp(whole))
		got.Images = whole.Images
		same(t, "result of Change", got, whole)
		same(t, "processed path", whole.Images[1].ProcessedPath, completed(ref).ProcessedPath)
		same(t, "appearance", whole.Images[1].Appearance, completed(ref).Appearance)
		same(t, "appearance of a failed image", whole.Images[0].Appearance, pipeline.Appearance{})
		same(t, "end", whole.Images[1].EndTime, at(3))
		same(t, "unsent", whole.Images[1].Unsent, false)
		if img := whole.Images[0]; img.Error != "Image is damaged" || img.ErrorCode != pipeline.CodeDamaged || !img.Retryable {
			t.Fatalf("failed image: %+v", img)
		}
	})
	t.Run("a change without effect", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(2, t0))
		ref := job.Ref{JobID: j.ID}
		change(t, s, ref, job.Settle(failed(ref), at(1)), at(1))
		before := get(t, s, j.ID)
		for range 5 {
			got, changed, err := s.Change(t.Context(), ref, job.Settle(completed(ref), at(2)), at(2))
			ok(t, err)
			same(t, "changed", changed, false)
			same(t, "revision", got.Revision, before.Revision)
		}
		same(t, "job", get(t, s, j.ID), before)
	})
	t.Run("unknown jobs and images", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(2, t0))
		for _, ref := range []job.Ref{{JobID: newID()}, {JobID: j.ID, Index: 2}, {JobID: j.ID, Index: -1}, {}} {
			_, changed, err := s.Change(t.Context(), ref, job.Settle(completed(ref), t0), t0)
			wantErr(t, err, job.ErrNotFound)
			same(t, "changed", changed, false)
		}
	})
	t.Run("an error of the transition changes nothing", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(1, t0))
		boom := errors.New("boom")
		_, changed, err := s.Change(t.Context(), job.Ref{JobID: j.ID}, func(j *job.Job, img *job.Image) (bool, error) {
			j.Completed, img.Status = 1, job.Completed
			return true, boom
		}, at(1))
		wantErr(t, err, boom)
		same(t, "changed", changed, false)
		same(t, "job", get(t, s, j.ID), j)
	})
	t.Run("time never goes back", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(2, t0))
		ref := job.Ref{JobID: j.ID}
		change(t, s, ref, job.Settle(completed(ref), at(100)), at(100))
		ref.Index = 1
		got := change(t, s, ref, job.Settle(completed(ref), at(-3600)), at(-3600))
		same(t, "updated", got.UpdatedAt, at(100))
		same(t, "completed at", got.CompletedAt, at(100))
	})
}

// testConcurrency uses one store from many goroutines, as settle and intake do.
func testConcurrency(t *testing.T, open func(*testing.T) Store) {
	t.Run("a hundred settle one job", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(100, t0))
		revisions := make([]int64, j.Total)
		each(t, j.Total, func(i int) error {
			ref := job.Ref{JobID: j.ID, Index: i}
			got, changed, err := s.Change(t.Context(), ref, job.Settle(completed(ref), at(1)), at(1))
			if err != nil || !changed {
				return fmt.Errorf("settle image %d: changed %t, %w", i, changed, err)
			}
			revisions[i] = got.Revision
			return nil
		})
		got := get(t, s, j.ID)
		ok(t, addUp(got))
		same(t, "completed", got.Completed, 100)
		same(t, "revision", got.Revision, int64(101))
		seen := map[int64]bool{}
		for i, r := range revisions {
			if seen[r] {
				t.Fatalf("revision %d was returned twice", r)
			}
			seen[r] = true
			same(t, fmt.Sprintf("revision of image %d", i), got.Images[i].Revision, r)
		}
	})
	t.Run("a hundred settle one image", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(2, t0))
		ref := job.Ref{JobID: j.ID, Index: 1}
		won := make([]bool, 100)
		each(t, len(won), func(i int) (err error) {
			result := completed(ref)
			if i%2 == 0 {
				result = failed(ref)
			}
			_, won[i], err = s.Change(t.Context(), ref, job.Settle(result, at(i)), at(i))
			return err
		})
		winners := 0
		for i, w := range won {
			if w {
				winners++
				want := job.Completed
				if i%2 == 0 {
					want = job.Failed
				}
				same(t, "the first final status", get(t, s, j.ID).Images[1].Status, want)
			}
		}
		same(t, "winners", winners, 1)
		ok(t, addUp(get(t, s, j.ID)))
	})
	t.Run("a watcher sees every step, in order", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(100, t0))
		var watchers sync.WaitGroup
		for range 2 {
			watchers.Go(func() {
				if err := watch(t, s, j.ID); err != nil {
					t.Error(err)
				}
			})
		}
		each(t, j.Total, func(i int) error {
			ref := job.Ref{JobID: j.ID, Index: i}
			_, _, err := s.Change(t.Context(), ref, job.Settle(completed(ref), at(1)), at(1))
			return err
		})
		watchers.Wait()
	})
	t.Run("a hundred create and claim", func(t *testing.T) {
		s := open(t)
		each(t, 100, func(int) error {
			return s.Create(t.Context(), leased(fetchJob(2, t0), job.Lease{Owner: "a", Until: at(15)}))
		})
		var mu sync.Mutex
		owners := map[string]string{}
		each(t, 20, func(i int) error {
			owner := fmt.Sprintf("owner %d", i)
			jobs, err := s.Claim(t.Context(), owner, at(16), at(31), 7)
			mu.Lock()
			defer mu.Unlock()
			for _, j := range jobs {
				if other, twice := owners[j.ID]; twice {
					err = errors.Join(err, fmt.Errorf("job %s was claimed by %s and %s", j.ID, other, owner))
				}
				owners[j.ID] = owner
			}
			return err
		})
		same(t, "claimed", len(owners), 100)
	})
}

// watch follows a job to its end by its changes alone, as a WebSocket does, and checks that
// they add up to the job.
func watch(t *testing.T, s Store, id string) error {
	seen := map[int]job.Image{}
	last := &job.Job{}
	for {
		j, err := s.Changes(t.Context(), id, last.Revision)
		if err != nil {
			return err
		}
		if j.Revision < last.Revision || j.Completed < last.Completed || j.Progress() < last.Progress() {
			return fmt.Errorf("the job went back from %+v to %+v", last, j)
		}
		before := last.Revision
		for _, img := range j.Images {
			if img.Revision < before || img.Revision <= last.Revision || img.Revision > j.Revision {
				return fmt.Errorf("change %d after %d in a result of revision %d", img.Revision, before, j.Revision)
			}
			before = img.Revision
			seen[img.Index] = img
		}
		ended := 0
		for _, img := range seen {
			if img.Status.Ended() {
				ended++
			}
		}
		if ended != j.Completed+j.Failed {
			return fmt.Errorf("revision %d: %d images ended, the job counts %d", j.Revision, ended, j.Completed+j.Failed)
		}
		if last = j; j.Status.Ended() {
			return nil
		}
	}
}

// each runs do for 0 to n-1, each in its own goroutine, and waits for all.
func each(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			if err := do(i); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
