package jobtest

import (
	"fmt"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

func testOwners(t *testing.T, open func(*testing.T) Store) {
	owned := func(j *job.Job, owner string) *job.Job {
		j.Owner = owner
		return j
	}
	// count returns the number of jobs and of open images of an owner.
	count := func(t *testing.T, s Store, owner string) [2]int {
		t.Helper()
		jobs, err := s.Owned(t.Context(), owner)
		ok(t, err)
		images, err := s.OpenImages(t.Context(), owner)
		ok(t, err)
		return [2]int{jobs, images}
	}
	const anna, bert = "anna", "bert ' \" % _"

	t.Run("every read returns the owner", func(t *testing.T) {
		s := open(t)
		l := lease("a", at(15))
		k := job.Key{Scope: anna, Name: "k"}
		j := leased(owned(inlineJob(1, t0), anna), l)
		ok(t, s.Reserve(t.Context(), j.ID, l, k))
		create(t, s, j)
		same(t, "get", get(t, s, j.ID).Owner, anna)
		changes, err := s.Changes(t.Context(), j.ID, 0)
		ok(t, err)
		same(t, "changes", changes.Owner, anna)
		keyed, err := s.Keyed(t.Context(), k)
		ok(t, err)
		same(t, "keyed", keyed.Owner, anna)
		cancelled, _, err := s.Cancel(t.Context(), j.ID, at(1))
		ok(t, err)
		same(t, "cancelled", cancelled.Owner, anna)
		same(t, "without a reservation", get(t, s, create(t, s, owned(inlineJob(1, t0), bert)).ID).Owner, bert)
		same(t, "without an owner", get(t, s, create(t, s, inlineJob(1, t0)).ID).Owner, "")
	})
	t.Run("each owner lists its own jobs, page by page", func(t *testing.T) {
		s := open(t)
		want := map[string][]*job.Job{}
		for i := range 12 {
			owner := []string{anna, bert, ""}[i%3]
			j := create(t, s, owned(inlineJob(2, at(i/6)), owner))
			want[owner] = append(want[owner], j)
		}
		all := list(t, s, job.Everybody, job.Cursor{}, 99)
		same(t, "all jobs", len(all), 12)
		for _, owner := range []string{anna, bert} {
			var mine []*job.Job
			for _, j := range all {
				if j.Owner == owner {
					mine = append(mine, j)
				}
			}
			same(t, "number", len(mine), len(want[owner]))
			for size := 1; size <= 5; size++ {
				var got []*job.Job
				for next := (job.Cursor{}); ; {
					some := list(t, s, job.Viewer{Owner: owner}, next, size)
					if got = append(got, some...); len(some) < size {
						break
					}
					last := got[len(got)-1]
					next = job.Cursor{CreatedAt: last.CreatedAt, ID: last.ID}
				}
				same(t, fmt.Sprintf("pages of %d for %s", size, owner), got, mine)
			}
		}
		for _, v := range []job.Viewer{{}, {Owner: "unknown"}} {
			same(t, "of an unknown owner", len(list(t, s, v, job.Cursor{}, 99)), 0)
			same(t, "of an unknown owner, after a job", len(list(t, s, v, job.Cursor{CreatedAt: at(99), ID: newID()}, 99)), 0)
		}
	})
	t.Run("counts of an owner", func(t *testing.T) {
		s := open(t)
		create(t, s, inlineJob(9, t0))
		j := create(t, s, owned(inlineJob(3, t0), anna))
		create(t, s, owned(fetchJob(2, t0), anna))
		create(t, s, owned(inlineJob(5, t0), bert))
		same(t, "open", count(t, s, anna), [2]int{2, 5})
		ref := job.Ref{JobID: j.ID, Index: 1}
		change(t, s, ref, job.Settle(failed(ref), at(1)), at(1))
		same(t, "one ended", count(t, s, anna), [2]int{2, 4})
		_, _, err := s.Cancel(t.Context(), j.ID, at(2))
		ok(t, err)
		same(t, "cancelled", count(t, s, anna), [2]int{2, 2})
		_, err = s.Hide(t.Context(), at(3), 9)
		ok(t, err)
		same(t, "hidden", count(t, s, anna), [2]int{1, 2})
		same(t, "of the other", count(t, s, bert), [2]int{1, 5})
		same(t, "without an owner", count(t, s, ""), [2]int{0, 0})
	})
}
