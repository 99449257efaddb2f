package jobtest

import (
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func testCancel(t *testing.T, open func(*testing.T) Store) {
	cancel := func(t *testing.T, s Store, id string, seconds int) *job.Job {
		t.Helper()
		got, changed, err := s.Cancel(t.Context(), id, at(seconds))
		ok(t, err)
		same(t, "changed", changed, true)
		return got
	}

	t.Run("ends all open images and the job together", func(t *testing.T) {
		s := open(t)
		l := job.Lease{Owner: "a", Until: at(15)}
		images := append(fetchJob(3, t0).Images, inlineJob(1, t0).Images...)
		id := newID()
		images[3].Original = original(id, 3)
		j := create(t, s, leased(job.New(id, images, t0), l))
		first := job.Ref{JobID: j.ID}
		change(t, s, first, job.Start(l, at(1)), at(1))
		change(t, s, first, job.Fetched(l, original(j.ID, 0)), at(2))
		change(t, s, first, job.Settle(completed(first), at(3)), at(3))
		second := job.Ref{JobID: j.ID, Index: 1}
		change(t, s, second, job.Start(l, at(4)), at(4))
		before := get(t, s, j.ID)

		got := cancel(t, s, j.ID, 5)
		same(t, "result of Cancel", got, get(t, s, j.ID))
		ok(t, addUp(got))
		if got.Status != job.Cancelled || got.Completed != 1 || got.Failed != 3 || got.Progress() != 100 || got.Revision != before.Revision+1 {
			t.Fatalf("cancelled job: %+v", got)
		}
		same(t, "completed at", got.CompletedAt, at(5))
		same(t, "the image that had ended", got.Images[0], before.Images[0])
		for _, img := range got.Images[1:] {
			if img.Status != job.Failed || img.Error != "Cancelled" || img.ErrorCode != pipeline.CodeCancelled || img.Unsent || !img.EndTime.Equal(at(5)) {
				t.Fatalf("cancelled image: %+v", img)
			}
		}
		changes, err := s.Changes(t.Context(), j.ID, before.Revision)
		ok(t, err)
		same(t, "images changed", len(changes.Images), 3)
		gives(t, "counts", job.Counts{Jobs: 1})(s.Count(t.Context()))
	})
	t.Run("no work continues", func(t *testing.T) {
		s := open(t)
		l := job.Lease{Owner: "a", Until: at(15)}
		fetching := create(t, s, leased(fetchJob(2, t0), l))
		sending := create(t, s, inlineJob(2, t0))
		old, err := s.Unsent(t.Context(), 9)
		ok(t, err)
		cancel(t, s, fetching.ID, 1)
		cancel(t, s, sending.ID, 1)

		givesIDs(t, "claimed", []string{})(s.Claim(t.Context(), "b", at(99), at(114), 9))
		unsent, err := s.Unsent(t.Context(), 9)
		ok(t, err)
		same(t, "unsent", len(unsent), 0)
		gives(t, "sent again", 0)(s.Resend(t.Context(), at(99)))

		// Late results of work that was in progress.
		ok(t, s.MarkSent(t.Context(), old))
		for _, j := range []*job.Job{fetching, sending} {
			ref := job.Ref{JobID: j.ID}
			before := get(t, s, j.ID)
			for _, tr := range []job.Transition{job.Settle(completed(ref), at(2)), job.Settle(failed(ref), at(2))} {
				_, changed, err := s.Change(t.Context(), ref, tr, at(2))
				ok(t, err)
				same(t, "changed by a late result", changed, false)
			}
			same(t, "job", get(t, s, j.ID), before)
		}
		_, changed, err := s.Change(t.Context(), job.Ref{JobID: fetching.ID}, job.Fetched(l, original(fetching.ID, 0)), at(2))
		ok(t, err)
		same(t, "changed by a late fetch", changed, false)
	})
	t.Run("an ended job is not changed", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(2, t0))
		settleAll(t, s, j, at(1))
		ended := get(t, s, j.ID)
		cancelled := cancel(t, s, create(t, s, inlineJob(2, t0)).ID, 1)
		for _, want := range []*job.Job{ended, cancelled} {
			got, changed, err := s.Cancel(t.Context(), want.ID, at(2))
			ok(t, err)
			same(t, "changed", changed, false)
			same(t, "returned", got, want)
			same(t, "stored", get(t, s, want.ID), want)
		}
	})
	t.Run("unknown jobs", func(t *testing.T) {
		s := open(t)
		received := newID()
		ok(t, s.Reserve(t.Context(), received, lease("a", at(15)), job.Key{}))
		for _, id := range []string{newID(), received, ""} {
			_, _, err := s.Cancel(t.Context(), id, t0)
			wantErr(t, err, job.ErrNotFound)
		}
	})
	t.Run("retention deletes a cancelled job", func(t *testing.T) {
		s := open(t)
		j := cancel(t, s, create(t, s, inlineJob(1, t0)).ID, 1)
		gives(t, "hidden", 1)(s.Hide(t.Context(), at(2), 9))
		_, _, err := s.Cancel(t.Context(), j.ID, at(3))
		wantErr(t, err, job.ErrNotFound)
		ok(t, s.Delete(t.Context(), j.ID))
	})
	t.Run("a race with a hundred results", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(100, t0))
		won := make([]bool, j.Total)
		cancelled := make([]bool, 3)
		each(t, j.Total+len(cancelled), func(i int) (err error) {
			if i >= j.Total {
				_, cancelled[i-j.Total], err = s.Cancel(t.Context(), j.ID, at(1))
				return err
			}
			ref := job.Ref{JobID: j.ID, Index: i}
			_, won[i], err = s.Change(t.Context(), ref, job.Settle(completed(ref), at(1)), at(1))
			return err
		})
		got := get(t, s, j.ID)
		ok(t, addUp(got))
		n := 0
		for _, c := range cancelled {
			if c {
				n++
			}
		}
		if n > 1 || (n == 1) != (got.Status == job.Cancelled) {
			t.Fatalf("cancelled %d times, the job is %s", n, got.Status)
		}
		for i := range got.Images {
			if won[i] != (got.Images[i].Status == job.Completed) {
				t.Fatalf("image %d: result accepted %t, status %s", i, won[i], got.Images[i].Status)
			}
		}
	})
}
