package jobtest

import (
	"context"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// lease returns the first lease of an owner.
func lease(owner string, until time.Time) job.Lease {
	return job.Lease{Owner: owner, Epoch: 1, Until: until}
}

func testCreate(t *testing.T, open func(*testing.T) Store) {
	t.Run("every field is stored", func(t *testing.T) {
		s := open(t)
		j := fetchJob(4, t0)
		j.Images[1].URL, j.Images[1].Original = "", original(j.ID, 1)
		j.Images[2].URL, j.Images[2].Status = "", job.Failed
		j.Images[2].Error, j.Images[2].ErrorCode, j.Images[2].Retryable = "It is no image", pipeline.CodeNotAnImage, true
		j = leased(job.New(j.ID, j.Images, t0), job.Lease{Owner: "a", Until: at(15)})
		j.RetryOf, j.Fingerprint = newID(), "a1b2"
		create(t, s, j)
		same(t, "job", get(t, s, j.ID), j)
	})
	t.Run("a batch of a hundred", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(100, t0))
		same(t, "job", get(t, s, j.ID), j)
	})
	t.Run("an ID is used once", func(t *testing.T) {
		s := open(t)
		j := create(t, s, inlineJob(1, t0))
		if err := s.Create(t.Context(), j); err == nil {
			t.Fatal("the same job was created twice")
		}
		same(t, "job", get(t, s, j.ID), j)
		if err := s.Reserve(t.Context(), j.ID, lease("a", at(15)), job.Key{}); err == nil {
			t.Fatal("a stored job was reserved")
		}
	})
	t.Run("a reservation is invisible until the job is created", func(t *testing.T) {
		s := open(t)
		l := lease("a", at(15))
		j := leased(inlineJob(2, t0), l)
		ok(t, s.Reserve(t.Context(), j.ID, l, job.Key{}))
		_, err := s.Get(t.Context(), j.ID)
		wantErr(t, err, job.ErrNotFound)
		_, err = s.Changes(t.Context(), j.ID, 0)
		wantErr(t, err, job.ErrNotFound)
		ref := job.Ref{JobID: j.ID}
		_, _, err = s.Change(t.Context(), ref, job.Settle(completed(ref), t0), t0)
		wantErr(t, err, job.ErrNotFound)
		same(t, "list", ids(list(t, s, job.Everybody, job.Cursor{}, 10)), []string{})
		gives(t, "counts", job.Counts{})(s.Count(t.Context()))

		create(t, s, j)
		same(t, "job", get(t, s, j.ID), j)
	})
	t.Run("a reservation starts with epoch 1", func(t *testing.T) {
		if err := open(t).Reserve(t.Context(), newID(), job.Lease{Owner: "a", Until: at(15)}, job.Key{}); err == nil {
			t.Fatal("a reservation without an epoch was accepted")
		}
	})
	t.Run("an ended context leaves nothing behind", func(t *testing.T) {
		s := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		j := inlineJob(1, t0)
		wantErr(t, s.Create(ctx, j), context.Canceled)
		_, err := s.Get(t.Context(), j.ID)
		wantErr(t, err, job.ErrNotFound)
	})
}

func testLeases(t *testing.T, open func(*testing.T) Store) {
	claim := func(t *testing.T, s Store, owner string, now, limit int) []*job.Job {
		t.Helper()
		jobs, err := s.Claim(t.Context(), owner, at(now), at(now+15), limit)
		ok(t, err)
		return jobs
	}

	t.Run("an expired reservation is claimed", func(t *testing.T) {
		s := open(t)
		id, l := newID(), lease("a", at(15))
		ok(t, s.Reserve(t.Context(), id, l, job.Key{}))
		same(t, "claimed before its end", ids(claim(t, s, "b", 15, 9)), []string{})
		got := claim(t, s, "b", 16, 9)
		same(t, "claimed after its end", ids(got), []string{id})
		same(t, "lease", got[0].Lease, job.Lease{Owner: "b", Epoch: 2, Until: at(31)})
		if got[0].Status != job.Receiving || len(got[0].Images) != 0 {
			t.Fatalf("claimed job is %s with %d images", got[0].Status, len(got[0].Images))
		}

		// The old holder continues.
		wantErr(t, s.Create(t.Context(), leased(job.New(id, inlineJob(1, t0).Images, t0), l)), job.ErrLeaseLost)
		wantErr(t, s.Release(t.Context(), id, l), job.ErrLeaseLost)
		ok(t, s.Release(t.Context(), id, got[0].Lease))
		ok(t, s.Release(t.Context(), id, got[0].Lease)) // repeated after a crash
		same(t, "claimed after release", ids(claim(t, s, "c", 99, 9)), []string{})

		// Even later, after the objects are deleted, the job must not appear.
		wantErr(t, s.Create(t.Context(), leased(job.New(id, inlineJob(1, t0).Images, t0), l)), job.ErrLeaseLost)
		_, err := s.Get(t.Context(), id)
		wantErr(t, err, job.ErrNotFound)
	})
	t.Run("a created job is not released", func(t *testing.T) {
		s := open(t)
		l := lease("a", at(15))
		j := leased(inlineJob(1, t0), l)
		ok(t, s.Reserve(t.Context(), j.ID, l, job.Key{}))
		create(t, s, j)
		wantErr(t, s.Release(t.Context(), j.ID, l), job.ErrLeaseLost)
		same(t, "job", get(t, s, j.ID), j)
	})
	t.Run("a claimer creates the job only under its own lease", func(t *testing.T) {
		s := open(t)
		j := inlineJob(1, t0)
		ok(t, s.Reserve(t.Context(), j.ID, lease("a", at(15)), job.Key{}))
		j.Lease = claim(t, s, "a", 16, 1)[0].Lease // the same gateway, which was paused
		wantErr(t, s.Create(t.Context(), leased(job.New(j.ID, j.Images, t0), lease("a", at(99)))), job.ErrLeaseLost)
		create(t, s, j)
	})
	t.Run("a job with images to fetch is claimed, and its old holder is rejected", func(t *testing.T) {
		s := open(t)
		l := job.Lease{Owner: "a", Until: at(15)}
		j := create(t, s, leased(fetchJob(3, t0), l))
		create(t, s, leased(inlineJob(3, t0), l)) // no image to fetch, so it cannot be claimed
		first := job.Ref{JobID: j.ID}
		change(t, s, first, job.Start(l, at(1)), at(1))

		got := claim(t, s, "b", 16, 9)
		same(t, "claimed", ids(got), []string{j.ID})
		same(t, "claimed job", got[0], get(t, s, j.ID))
		for name, tr := range map[string]job.Transition{
			"start":   job.Start(l, at(17)),
			"fetched": job.Fetched(l, original(j.ID, 0)),
			"failed":  job.FetchFailed(l, &pipeline.Failure{Code: pipeline.CodeDownloadFailed, Text: "x"}, at(17)),
		} {
			if _, changed, err := s.Change(t.Context(), first, tr, at(17)); changed || err == nil {
				t.Fatalf("%s by the old holder: changed %t, error %v", name, changed, err)
			} else {
				wantErr(t, err, job.ErrLeaseLost)
			}
		}
		same(t, "job after the old holder's attempts", get(t, s, j.ID), got[0])
		change(t, s, first, job.Fetched(got[0].Lease, original(j.ID, 0)), at(17))
	})
	t.Run("a job without images to fetch is not claimed", func(t *testing.T) {
		s := open(t)
		l := job.Lease{Owner: "a", Until: at(15)}
		j := create(t, s, leased(fetchJob(3, t0), l))
		f := &pipeline.Failure{Code: pipeline.CodeDownloadFailed, Text: "Failed to download image: status code 404"}
		change(t, s, job.Ref{JobID: j.ID, Index: 0}, job.Start(l, at(1)), at(1))
		change(t, s, job.Ref{JobID: j.ID, Index: 0}, job.Fetched(l, original(j.ID, 0)), at(2))
		change(t, s, job.Ref{JobID: j.ID, Index: 1}, job.FetchFailed(l, f, at(3)), at(3))
		same(t, "claimed with one to fetch", len(claim(t, s, "b", 16, 9)), 1)
		third := job.Ref{JobID: j.ID, Index: 2}
		change(t, s, third, job.Settle(failed(third), at(4)), at(4))
		same(t, "claimed with none to fetch", len(claim(t, s, "c", 99, 9)), 0)
	})
	t.Run("renewing extends every lease of the owner", func(t *testing.T) {
		s := open(t)
		create(t, s, leased(fetchJob(1, t0), job.Lease{Owner: "a", Until: at(15)}))
		ok(t, s.Reserve(t.Context(), newID(), lease("a", at(15)), job.Key{}))
		other := create(t, s, leased(fetchJob(1, t0), job.Lease{Owner: "b", Until: at(15)}))
		ok(t, s.Renew(t.Context(), "a", at(30)))
		same(t, "claimed at 16", ids(claim(t, s, "c", 16, 9)), []string{other.ID})
		same(t, "claimed at 30", len(claim(t, s, "d", 30, 9)), 0)
		same(t, "claimed at 31", len(claim(t, s, "d", 31, 2)), 2)
	})
	t.Run("a lease ends even if the clock was set back", func(t *testing.T) {
		s := open(t)
		create(t, s, leased(fetchJob(1, t0), job.Lease{Owner: "a", Until: at(3600)}))
		ok(t, s.Renew(t.Context(), "a", at(15)))
		same(t, "claimed", len(claim(t, s, "b", 16, 9)), 1)
	})
	t.Run("claims are ordered by the end of the lease, then by age", func(t *testing.T) {
		s := open(t)
		var want []string
		for _, until := range []int{3, 1, 2, 1} {
			j := create(t, s, leased(fetchJob(1, t0), job.Lease{Owner: "a", Until: at(until)}))
			want = append(want, j.ID)
		}
		never := create(t, s, fetchJob(1, t0))
		same(t, "first", ids(claim(t, s, "b", 9, 1)), []string{never.ID})
		same(t, "next two", ids(claim(t, s, "b", 9, 2)), []string{want[1], want[3]})
		same(t, "rest", ids(claim(t, s, "b", 9, 9)), []string{want[2], want[0]})
		same(t, "none is left", len(claim(t, s, "c", 9, 9)), 0)
		same(t, "a limit of zero", len(claim(t, s, "c", 99, 0)), 0)
		// The claims of b ended at 24 and can be claimed in turn.
		again := claim(t, s, "c", 25, 9)
		same(t, "claimed again", len(again), 5)
		for _, j := range again {
			want := int64(2)
			same(t, "epoch", j.Lease.Epoch, want)
		}
	})
}
