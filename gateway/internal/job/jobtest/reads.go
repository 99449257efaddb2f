package jobtest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

func testReads(t *testing.T, open func(*testing.T) Store) {
	t.Run("a store has a unique name", func(t *testing.T) {
		a, b := open(t), open(t)
		if a.ID() == "" || a.ID() == b.ID() {
			t.Fatalf("two stores are named %q and %q", a.ID(), b.ID())
		}
		ok(t, a.Ready(t.Context()))
	})
	t.Run("unknown jobs", func(t *testing.T) {
		s := open(t)
		for _, id := range []string{newID(), "", "'; DROP TABLE jobs; --", "\U0001f4f7"} {
			_, err := s.Get(t.Context(), id)
			wantErr(t, err, job.ErrNotFound)
			_, err = s.Changes(t.Context(), id, 0)
			wantErr(t, err, job.ErrNotFound)
		}
	})
	t.Run("changes are ordered by revision", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(4, t0))
		for i, index := range []int{2, 0, 3} {
			ref := job.Ref{JobID: j.ID, Index: index}
			change(t, s, ref, job.Settle(completed(ref), at(i)), at(i))
		}
		for after, want := range map[int64][]int{0: {1, 2, 0, 3}, 1: {2, 0, 3}, 2: {0, 3}, 3: {3}, 4: nil, 99: nil} {
			got, err := s.Changes(t.Context(), j.ID, after)
			ok(t, err)
			var order []int
			for _, img := range got.Images {
				order = append(order, img.Index)
			}
			same(t, fmt.Sprintf("changes after %d", after), order, want)
			same(t, "completed", got.Completed, 3)
			same(t, "revision", got.Revision, int64(4))
		}
	})
	t.Run("every read is consistent", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(20, t0))
		var readers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				for {
					got, err := s.Get(t.Context(), j.ID)
					if err == nil {
						err = addUp(got)
					}
					if err != nil {
						t.Error(err)
						return
					}
					page, err := s.List(t.Context(), job.Query{Viewer: job.Everybody, Limit: 1})
					if err == nil {
						err = addUp(page.Jobs[0])
					}
					if err != nil {
						t.Error(err)
						return
					}
					if got.Status.Ended() {
						return
					}
				}
			})
		}
		settleAll(t, s, j, at(1))
		readers.Wait()
	})
	t.Run("counts", func(t *testing.T) {
		s := open(t)
		counts := func() job.Counts {
			c, err := s.Count(t.Context())
			ok(t, err)
			return c
		}
		same(t, "empty", counts(), job.Counts{})
		young := create(t, s, inlineJob(3, at(5)))
		old := create(t, s, fetchJob(2, t0))
		same(t, "open", counts(), job.Counts{Jobs: 2, OpenImages: 5, OldestOpen: t0, Unsent: 3})
		settleAll(t, s, old, at(6))
		same(t, "one ended", counts(), job.Counts{Jobs: 2, OpenImages: 3, OldestOpen: at(5), Unsent: 3})
		settleAll(t, s, young, at(7))
		same(t, "both ended", counts(), job.Counts{Jobs: 2})
	})
}

func testList(t *testing.T, open func(*testing.T) Store) {
	page := func(t *testing.T, s Store, after job.Cursor, limit int) []*job.Job {
		t.Helper()
		return list(t, s, job.Everybody, after, limit)
	}
	cursor := func(j *job.Job) job.Cursor { return job.Cursor{CreatedAt: j.CreatedAt, ID: j.ID} }

	t.Run("newest first, whole, page by page", func(t *testing.T) {
		s := open(t)
		var want []*job.Job
		for i := range 7 {
			// Pairs have the same creation time; then the ID decides.
			want = append(want, create(t, s, inlineJob(2, at(i/2))))
		}
		slices.SortFunc(want, func(a, b *job.Job) int {
			if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
				return c
			}
			if a.ID > b.ID {
				return -1
			}
			return 1
		})
		same(t, "one page", page(t, s, job.Cursor{}, 99), want)
		same(t, "none", len(page(t, s, job.Cursor{}, 0)), 0)
		for size := 1; size <= 8; size++ {
			var got []*job.Job
			for next := (job.Cursor{}); ; next = cursor(got[len(got)-1]) {
				some := page(t, s, next, size)
				if got = append(got, some...); len(some) < size {
					break
				}
			}
			same(t, fmt.Sprintf("pages of %d", size), ids(got), ids(want))
		}
		same(t, "after the last", len(page(t, s, cursor(want[6]), 9)), 0)
	})
	t.Run("concurrent inserts neither repeat nor skip a job", func(t *testing.T) {
		s := open(t)
		want := map[string]bool{}
		for i := range 40 {
			want[create(t, s, inlineJob(1, at(i))).ID] = true
		}
		stop := make(chan struct{})
		var writers sync.WaitGroup
		for w := range 3 {
			writers.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					j := inlineJob(1, at(100).Add(time.Duration(w*1_000_000+i)*time.Microsecond))
					if err := s.Create(t.Context(), j); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		seen := map[string]bool{}
		next := job.Cursor{}
		for {
			some, err := s.List(t.Context(), job.Query{Viewer: job.Everybody, After: next, Limit: 3})
			if err != nil {
				t.Error(err)
				break
			}
			for _, j := range some.Jobs {
				if seen[j.ID] {
					t.Errorf("job %s was listed twice", j.ID)
				}
				seen[j.ID] = true
			}
			if next = some.Next; !some.More() {
				break
			}
		}
		close(stop)
		writers.Wait()
		for id := range want {
			if !seen[id] {
				t.Errorf("job %s was not listed", id)
			}
		}
	})
}
