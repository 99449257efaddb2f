package jobtest

import (
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

func testRetention(t *testing.T, open func(*testing.T) Store) {
	hide := func(t *testing.T, s Store, before time.Time, limit, want int) {
		t.Helper()
		gives(t, "hidden", want)(s.Hide(t.Context(), before, limit))
	}
	hidden := func(t *testing.T, s Store, before time.Time, limit int) []*job.Job {
		t.Helper()
		jobs, err := s.Hidden(t.Context(), before, before, limit)
		ok(t, err)
		return jobs
	}
	ended := func(t *testing.T, s Store, n, end int) *job.Job {
		t.Helper()
		j := create(t, s, inlineJob(n, t0))
		settleAll(t, s, j, at(end))
		return j
	}

	t.Run("a hidden job is invisible", func(t *testing.T) {
		s := open(t)
		l := job.Lease{Owner: "a", Until: at(1)}
		j := create(t, s, leased(fetchJob(2, t0), l))
		settleAll(t, s, j, at(5))
		before := get(t, s, j.ID)
		hide(t, s, at(5), 9, 0)
		hide(t, s, at(6), 9, 1)
		hide(t, s, at(6), 9, 0)

		_, err := s.Get(t.Context(), j.ID)
		wantErr(t, err, job.ErrNotFound)
		_, err = s.Changes(t.Context(), j.ID, 0)
		wantErr(t, err, job.ErrNotFound)
		ref := job.Ref{JobID: j.ID}
		_, _, err = s.Change(t.Context(), ref, job.Settle(completed(ref), at(7)), at(7))
		wantErr(t, err, job.ErrNotFound)
		same(t, "list", ids(list(t, s, job.Everybody, job.Cursor{}, 9)), []string{})
		gives(t, "counts", job.Counts{})(s.Count(t.Context()))
		unsent, err := s.Unsent(t.Context(), 9)
		ok(t, err)
		same(t, "unsent", len(unsent), 0)
		gives(t, "sent again", 0)(s.Resend(t.Context(), at(99)))
		givesIDs(t, "claimed", []string{})(s.Claim(t.Context(), "b", at(99), at(114), 9))
		if err := s.Create(t.Context(), j); err == nil {
			t.Fatal("the ID of a hidden job was accepted")
		}
		same(t, "hidden job", hidden(t, s, at(6), 9), []*job.Job{before})
	})
	t.Run("open jobs and young jobs are not hidden", func(t *testing.T) {
		s := open(t)
		create(t, s, inlineJob(2, t0))
		ok(t, s.Reserve(t.Context(), newID(), lease("a", at(15)), job.Key{}))
		half := create(t, s, inlineJob(2, t0))
		ref := job.Ref{JobID: half.ID}
		change(t, s, ref, job.Settle(completed(ref), at(1)), at(1))
		young := ended(t, s, 1, 50)
		old := ended(t, s, 1, 49)
		hide(t, s, at(50), 9, 1)
		same(t, "hidden", ids(hidden(t, s, at(99), 9)), []string{old.ID})
		get(t, s, young.ID)
		get(t, s, half.ID)
	})
	t.Run("jobs are hidden by their end, up to the limit", func(t *testing.T) {
		s := open(t)
		var want []string
		for _, end := range []int{3, 1, 2} {
			want = append(want, ended(t, s, 1, end).ID)
		}
		hide(t, s, at(9), 0, 0)
		hide(t, s, at(9), 2, 2)
		same(t, "hidden", ids(hidden(t, s, at(9), 9)), []string{want[1], want[2]})
		same(t, "before 2", ids(hidden(t, s, at(2), 9)), []string{want[1]})
	})
	t.Run("originals are deleted before the row, also after a crash", func(t *testing.T) {
		s := open(t)
		first, second := ended(t, s, 2, 1), ended(t, s, 2, 2)
		hide(t, s, at(9), 9, 2)
		ok(t, s.ForgetOriginals(t.Context(), first.ID, at(3)))
		ok(t, s.ForgetOriginals(t.Context(), first.ID, at(3)))
		got := hidden(t, s, at(9), 9)
		same(t, "order", ids(got), []string{second.ID, first.ID})
		same(t, "originals gone", []bool{got[0].OriginalsGone, got[1].OriginalsGone}, []bool{false, true})
		same(t, "one", ids(hidden(t, s, at(9), 1)), []string{second.ID})
		same(t, "none", len(hidden(t, s, at(9), 0)), 0)

		ok(t, s.Delete(t.Context(), first.ID))
		wantErr(t, s.Delete(t.Context(), first.ID), job.ErrNotFound)
		wantErr(t, s.ForgetOriginals(t.Context(), first.ID, at(3)), job.ErrNotFound)
		same(t, "left", ids(hidden(t, s, at(9), 9)), []string{second.ID})

		// No remains of it prevent a job with the same ID.
		create(t, s, first)
		same(t, "images", len(get(t, s, first.ID).Images), 2)
	})
	t.Run("a job waits after the deletion of its originals", func(t *testing.T) {
		s := open(t)
		swept, later, untouched := ended(t, s, 1, 1), ended(t, s, 1, 2), ended(t, s, 1, 3)
		hide(t, s, at(9), 9, 3)
		ok(t, s.ForgetOriginals(t.Context(), swept.ID, at(10)))
		ok(t, s.ForgetOriginals(t.Context(), later.ID, at(20)))
		for _, look := range []struct {
			goneBefore time.Time
			want       []string
		}{
			{time.Time{}, []string{untouched.ID}},
			{at(10), []string{untouched.ID}},
			{at(11), []string{untouched.ID, swept.ID}},
			{at(21), []string{untouched.ID, swept.ID, later.ID}},
		} {
			givesIDs(t, "hidden", look.want)(s.Hidden(t.Context(), at(9), look.goneBefore, 9))
		}
		// Another deletion of the originals makes it wait longer.
		ok(t, s.ForgetOriginals(t.Context(), swept.ID, at(30)))
		givesIDs(t, "hidden", []string{untouched.ID, later.ID})(s.Hidden(t.Context(), at(9), at(30), 9))
	})
	t.Run("a visible job is not deleted", func(t *testing.T) {
		s := open(t)
		open, done := create(t, s, inlineJob(1, t0)), ended(t, s, 1, 1)
		received := newID()
		ok(t, s.Reserve(t.Context(), received, lease("a", at(15)), job.Key{}))
		for _, id := range []string{open.ID, done.ID, received, newID()} {
			wantErr(t, s.Delete(t.Context(), id), job.ErrNotFound)
			wantErr(t, s.ForgetOriginals(t.Context(), id, at(3)), job.ErrNotFound)
		}
		get(t, s, open.ID)
		same(t, "originals gone", get(t, s, done.ID).OriginalsGone, false)
		givesIDs(t, "claimed", []string{received})(s.Claim(t.Context(), "b", at(16), at(31), 9))
	})
}
