package jobtest

import (
	"slices"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// AfterMigration verifies that a store written by the first release works. It has a job "open"
// of two images, one of them completed, and a reservation, both under expired leases, and a
// hidden job "swept" without originals.
func AfterMigration(t *testing.T, s Store) {
	t.Helper()
	now := time.Unix(10, 0)
	// The time of the deletion of its originals is unknown, so it counts as long ago.
	hidden, err := s.Hidden(t.Context(), now, time.UnixMicro(1), 9)
	if err != nil || len(hidden) != 1 || hidden[0].ID != "swept" || !hidden[0].OriginalsGone {
		t.Errorf("hidden jobs are now %+v, %v", hidden, err)
	}
	claimed, err := s.Claim(t.Context(), "a", now, now.Add(job.LeaseTime), 9)
	if err != nil || len(claimed) != 2 {
		t.Errorf("claimed %+v, %v", claimed, err)
	}
	j, changed, err := s.Cancel(t.Context(), "open", now)
	if err != nil || !changed || j.Status != job.Cancelled || j.Completed != 1 || j.Failed != 1 {
		t.Errorf("cancelled: %t, %+v, %v", changed, j, err)
	}
}

// AfterUpgrade verifies that a store written by release 0.1.0 works. The release stored the
// jobs with the keys "mixed", "failed", "cancelled" and "fetching", and was killed; its code
// then added "unsent", which was not published, "received", which is reserved with a key, and
// the hidden jobs "hidden" and "swept".
func AfterUpgrade(t *testing.T, s Store) {
	t.Helper()
	now := time.Date(2030, time.January, 1, 0, 0, 0, 0, time.UTC)
	byKey := map[string]*job.Job{}
	for key, want := range map[string]job.Job{
		"mixed":     {Status: job.Completed, Completed: 1, Failed: 1},
		"failed":    {Status: job.Failed, Failed: 1},
		"cancelled": {Status: job.Cancelled, Completed: 1, Failed: 1},
		"fetching":  {Status: job.Processing, Completed: 1},
	} {
		keyed, err := s.Keyed(t.Context(), job.Key{Name: key})
		ok(t, err)
		j := get(t, s, keyed.ID)
		ok(t, addUp(j))
		if j.Status != want.Status || j.Completed != want.Completed || j.Failed != want.Failed || j.Fingerprint == "" {
			t.Errorf("the job with the key %s is now %+v", key, j)
		}
		wantErr(t, s.Reserve(t.Context(), newID(), lease("a", now), job.Key{Name: key}), job.ErrKeyTaken)
		byKey[key] = j
	}
	counts, err := s.Count(t.Context())
	ok(t, err)
	j := get(t, s, "unsent")
	same(t, "counts", counts, job.Counts{Jobs: 5, OpenImages: 3, OldestOpen: j.CreatedAt, Unsent: 2})
	same(t, "owner and origin", []string{j.Owner, j.Origin}, []string{"anna", "origin"})

	claimed, err := s.Claim(t.Context(), "a", now, now.Add(job.LeaseTime), 9)
	ok(t, err)
	fetching := byKey["fetching"]
	got := ids(claimed)
	slices.Sort(got)
	same(t, "claimed", got, []string{fetching.ID, "received"})
	for _, c := range claimed {
		if c.ID == "received" {
			ok(t, s.Release(t.Context(), c.ID, c.Lease))
			continue
		}
		ref := job.Ref{JobID: c.ID, Index: slices.IndexFunc(c.Images, func(img job.Image) bool { return img.ToFetch() })}
		change(t, s, ref, job.Fetched(c.Lease, original(c.ID, ref.Index)), now)
		change(t, s, ref, job.Settle(completed(ref), now), now)
	}
	same(t, "fetched", get(t, s, fetching.ID).Status, job.Completed)
	_, err = s.Resend(t.Context(), now)
	ok(t, err)
	unsent, err := s.Unsent(t.Context(), 9)
	ok(t, err)
	same(t, "unsent", len(unsent), 2)
	ok(t, s.MarkSent(t.Context(), unsent))
	settleAll(t, s, j, now)

	givesIDs(t, "hidden", []string{"hidden", "swept"})(s.Hidden(t.Context(), now, now, 9))
	gives(t, "hidden since", 5)(s.Hide(t.Context(), now.Add(time.Hour), 9))
	for _, id := range []string{"hidden", "swept", "unsent", fetching.ID} {
		ok(t, s.Delete(t.Context(), id))
	}
	gives(t, "counts at the end", job.Counts{})(s.Count(t.Context()))
	ok(t, s.Create(t.Context(), inlineJob(2, now)))
}
