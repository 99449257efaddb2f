package jobtest

import (
	"fmt"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

func testOutbox(t *testing.T, open func(*testing.T) Store) {
	unsent := func(t *testing.T, s Store, limit int) []job.Unsent {
		t.Helper()
		all, err := s.Unsent(t.Context(), limit)
		ok(t, err)
		return all
	}

	t.Run("contains the images that are stored and not published", func(t *testing.T) {
		s := open(t)
		l := job.Lease{Owner: "a", Until: at(15)}
		first := create(t, s, inlineJob(2, t0))
		second := create(t, s, leased(fetchJob(2, at(1)), l))
		third := create(t, s, inlineJob(1, at(2)))
		change(t, s, job.Ref{JobID: second.ID, Index: 1}, job.Start(l, at(3)), at(3))
		change(t, s, job.Ref{JobID: second.ID, Index: 1}, job.Fetched(l, original(second.ID, 1)), at(3))

		all := unsent(t, s, 9)
		var got []job.Ref
		for _, u := range all {
			got = append(got, job.Ref{JobID: u.JobID, Index: u.Image.Index})
			same(t, "image", u.Image, get(t, s, u.JobID).Images[u.Image.Index])
		}
		same(t, "unsent", got, []job.Ref{{JobID: first.ID}, {JobID: first.ID, Index: 1}, {JobID: second.ID, Index: 1}, {JobID: third.ID}})
		same(t, "first two", unsent(t, s, 2), all[:2])
		same(t, "none", len(unsent(t, s, 0)), 0)

		before := get(t, s, first.ID)
		ok(t, s.MarkSent(t.Context(), all[:3]))
		ok(t, s.MarkSent(t.Context(), all[:3]))
		ok(t, s.MarkSent(t.Context(), nil))
		same(t, "left", unsent(t, s, 9), all[3:])
		same(t, "revision after sending", get(t, s, first.ID).Revision, before.Revision)
	})
	t.Run("an ended image is not published", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(1, t0))
		old := unsent(t, s, 9)
		settleAll(t, s, j, at(1))
		same(t, "unsent", len(unsent(t, s, 9)), 0)
		ok(t, s.MarkSent(t.Context(), old))
	})
	t.Run("a late confirm does not count for a later publish", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(2, t0))
		old := unsent(t, s, 9) // being published when the broker loses its data
		ok(t, s.MarkSent(t.Context(), old[:1]))
		gives(t, "marked", 2)(s.Resend(t.Context(), at(1)))
		ok(t, s.MarkSent(t.Context(), old))
		again := unsent(t, s, 9)
		same(t, "unsent after the late confirm", len(again), 2)
		ok(t, s.MarkSent(t.Context(), again))
		same(t, "unsent after the new confirm", len(unsent(t, s, 9)), 0)
		gives(t, "counts", job.Counts{Jobs: 1, OpenImages: 2, OldestOpen: j.CreatedAt})(s.Count(t.Context()))
	})
	t.Run("only open, stored, older images are sent again", func(t *testing.T) {
		s := open(t)
		l := job.Lease{Owner: "a", Until: at(15)}
		old := create(t, s, inlineJob(2, t0))
		young := create(t, s, inlineJob(1, at(5)))
		fetching := create(t, s, leased(fetchJob(2, t0), l))
		change(t, s, job.Ref{JobID: fetching.ID}, job.Start(l, at(1)), at(1))
		ok(t, s.MarkSent(t.Context(), unsent(t, s, 9)))
		ended := job.Ref{JobID: old.ID, Index: 1}
		change(t, s, ended, job.Settle(completed(ended), at(2)), at(2))

		gives(t, "marked before 5", 1)(s.Resend(t.Context(), at(5)))
		same(t, "unsent before 5", unsent(t, s, 9)[0].JobID, old.ID)
		gives(t, "marked before 6", 2)(s.Resend(t.Context(), at(6)))
		all := unsent(t, s, 9)
		same(t, "sends", []int64{all[0].Image.Send, all[1].Image.Send}, []int64{3, 2})
		same(t, "the young one", all[1].JobID, young.ID)
	})
	t.Run("concurrent relays mark each image once", func(t *testing.T) {
		s := open(t)
		create(t, s, inlineJob(100, t0))
		all := unsent(t, s, 100)
		each(t, 10, func(i int) error {
			if err := s.MarkSent(t.Context(), all[i*10:]); err != nil {
				return err
			}
			if _, err := s.Count(t.Context()); err != nil {
				return err
			}
			return nil
		})
		counts, err := s.Count(t.Context())
		ok(t, err)
		same(t, "unsent", counts.Unsent, 0)
		if left := unsent(t, s, 1); len(left) > 0 {
			t.Fatal(fmt.Sprint("still unsent: ", left))
		}
	})
}
