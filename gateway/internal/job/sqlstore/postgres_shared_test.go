package sqlstore

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// pair opens two stores on one database, as two gateways do.
func pair(t *testing.T) (a, b *Store, address string) {
	t.Helper()
	address = schema(t)
	var opening sync.WaitGroup
	for _, s := range []**Store{&a, &b} {
		opening.Go(func() { // concurrently: one of them migrates
			var err error
			if *s, err = OpenPostgres(t.Context(), address, quiet); err != nil {
				t.Error(err)
			}
		})
	}
	opening.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() { ok(t, errors.Join(a.Close(), b.Close())) })
	return a, b, address
}

// TestTwoGateways verifies that one gateway sees the changes of the other immediately.
func TestTwoGateways(t *testing.T) {
	t.Parallel()
	a, b, _ := pair(t)
	if a.ID() == "" || a.ID() != b.ID() {
		t.Errorf("one store is named %q and %q", a.ID(), b.ID())
	}
	ok(t, a.Create(t.Context(), newJob("job", 40)))
	var settling sync.WaitGroup
	for i := range 40 {
		s := []*Store{a, b}[i%2]
		settling.Go(func() {
			ref := job.Ref{JobID: "job", Index: i}
			if _, changed, err := s.Change(t.Context(), ref, settled(ref), t0); err != nil || !changed {
				t.Errorf("settle image %d: changed %t, %v", i, changed, err)
			}
		})
	}
	settling.Wait()
	for _, s := range []*Store{a, b} {
		j, err := s.Changes(t.Context(), "job", 1)
		ok(t, err)
		if j.Status != job.Completed || j.Completed != 40 || j.Revision != 41 || len(j.Images) != 40 {
			t.Errorf("job is %s, %d completed, revision %d, %d changes", j.Status, j.Completed, j.Revision, len(j.Images))
		}
		for i, img := range j.Images {
			if img.Revision != int64(i+2) {
				t.Errorf("change %d has revision %d", i, img.Revision)
			}
		}
		counts, err := s.Count(t.Context())
		ok(t, err)
		if counts != (job.Counts{Jobs: 1}) {
			t.Errorf("counts %+v", counts)
		}
	}
}

// TestConcurrentRequestsWithOneKey verifies that one of several concurrent requests with the
// same key, at several gateways, gets it.
func TestConcurrentRequestsWithOneKey(t *testing.T) {
	t.Parallel()
	a, b, _ := pair(t)
	key := job.Key{Scope: "client", Name: "key"}
	var mu sync.Mutex
	var got []string
	var reserving sync.WaitGroup
	for i := range 10 {
		s, id := []*Store{a, b}[i%2], fmt.Sprint(i)
		reserving.Go(func() {
			switch err := s.Reserve(t.Context(), id, job.Lease{Owner: "a", Epoch: 1, Until: t0}, key); {
			case err == nil:
				mu.Lock()
				got = append(got, id)
				mu.Unlock()
			case !errors.Is(err, job.ErrKeyTaken):
				t.Error(err)
			}
		})
	}
	reserving.Wait()
	j, err := b.Keyed(t.Context(), key)
	ok(t, err)
	if len(got) != 1 || j.ID != got[0] {
		t.Errorf("jobs %v got the key, whose job is %s", got, j.ID)
	}
}

// TestTwoClaimers verifies that two gateways that claim the same jobs concurrently get each of
// them once, and all of them.
func TestTwoClaimers(t *testing.T) {
	t.Parallel()
	a, b, _ := pair(t)
	const n = 120
	for i := range n {
		ok(t, a.Create(t.Context(), fetchJob(fmt.Sprint(i), 2, job.Lease{Owner: fmt.Sprintf("gone %d", i%3), Until: t0})))
	}
	at := t0.Add(time.Second)
	var mu sync.Mutex
	owners := map[string]string{}
	var claiming sync.WaitGroup
	for g := range 8 {
		s, owner := []*Store{a, b}[g%2], fmt.Sprintf("gateway %d", g)
		claiming.Go(func() {
			for {
				claimed, err := s.Claim(t.Context(), owner, at, at.Add(time.Hour), 7)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, j := range claimed {
					if other, twice := owners[j.ID]; twice {
						t.Errorf("job %s was claimed by %s and %s", j.ID, other, owner)
					}
					if owners[j.ID] = owner; len(j.Images) != 2 || j.Lease.Owner != owner || j.Lease.Epoch != 1 {
						t.Errorf("claimed %+v", j)
					}
				}
				all := len(owners) == n
				mu.Unlock()
				if all || err != nil {
					return
				}
			}
		})
	}
	claiming.Wait()
}

// TestPausedGatewayIsRejected verifies that every write of a gateway that was paused for too
// long is rejected, even if its clock has stopped.
func TestPausedGatewayIsRejected(t *testing.T) {
	t.Parallel()
	a, b, _ := pair(t)
	held := job.Lease{Owner: "a", Epoch: 1, Until: t0.Add(job.LeaseTime)}
	ok(t, a.Reserve(t.Context(), "received", held, job.Key{}))
	fetch := job.Lease{Owner: "a", Until: held.Until}
	ok(t, a.Create(t.Context(), fetchJob("fetched", 1, fetch)))
	ok(t, a.Renew(t.Context(), "a", held.Until))

	at := held.Until.Add(time.Second)
	claimed, err := b.Claim(t.Context(), "b", held.Until, at, 9)
	ok(t, err)
	if len(claimed) != 0 {
		t.Fatalf("claimed before their end: %+v", claimed)
	}
	claimed, err = b.Claim(t.Context(), "b", at, at.Add(job.LeaseTime), 9)
	ok(t, err)
	if len(claimed) != 2 {
		t.Fatalf("claimed after their end: %+v", claimed)
	}

	ok(t, a.Renew(t.Context(), "a", at.Add(time.Hour)))
	received := newJob("received", 1)
	received.Lease = held
	ref := job.Ref{JobID: "fetched"}
	_, _, startErr := a.Change(t.Context(), ref, job.Start(fetch, at), at)
	for what, err := range map[string]error{
		"create": a.Create(t.Context(), received), "release": a.Release(t.Context(), "received", held), "start": startErr,
	} {
		if !errors.Is(err, job.ErrLeaseLost) {
			t.Errorf("%s by the old holder: %v", what, err)
		}
	}
	lease := claimed[slices.IndexFunc(claimed, func(j *job.Job) bool { return j.ID == "fetched" })].Lease
	if _, changed, err := b.Change(t.Context(), ref, job.Start(lease, at), at); err != nil || !changed {
		t.Errorf("start by the new holder: %t, %v", changed, err)
	}
}

// TestTwoRelays verifies that an image is published by the gateway that has marked it unsent, or,
// if that gateway does not, by one other.
func TestTwoRelays(t *testing.T) {
	t.Parallel()
	a, b, address := pair(t)
	ok(t, a.Create(t.Context(), newJob("inline", 30)))
	l := job.Lease{Owner: "b", Until: t0.Add(time.Hour)}
	ok(t, a.Create(t.Context(), fetchJob("fetched", 1, l)))
	ref := job.Ref{JobID: "fetched"}
	for _, tr := range []job.Transition{job.Start(l, t0), job.Fetched(l, original("fetched", 0))} {
		_, _, err := b.Change(t.Context(), ref, tr, t0)
		ok(t, err)
	}
	unsent := func(s *Store, limit int) map[string]bool {
		t.Helper()
		list, err := s.Unsent(t.Context(), limit)
		ok(t, err)
		set := map[string]bool{}
		for _, u := range list {
			set[fmt.Sprint(u.JobID, u.Image.Index)] = true
		}
		return set
	}
	if got := unsent(a, 99); len(got) != 30 || got["fetched0"] {
		t.Errorf("the first gateway got %v", got)
	}
	if got := unsent(b, 99); len(got) != 1 || !got["fetched0"] {
		t.Errorf("the second gateway got %v", got)
	}

	testDatabase{"postgres", address}.execute(t, `UPDATE images SET relay_until = 0`) // as if some seconds had passed without a publish
	ofA, ofB := map[string]bool{}, map[string]bool{}
	var relays sync.WaitGroup
	relays.Go(func() { ofA = unsent(a, 99) })
	relays.Go(func() { ofB = unsent(b, 99) })
	relays.Wait()
	for image := range ofA {
		if ofB[image] {
			t.Errorf("both relays got %s", image)
		}
	}
	if len(ofA)+len(ofB) != 31 {
		t.Errorf("the relays got %d and %d", len(ofA), len(ofB))
	}
	// An image in flight at one relay, or sent by it, is not given to the other.
	if again := unsent(a, 99); fmt.Sprint(again) != fmt.Sprint(ofA) {
		t.Errorf("the first got %v and then %v", ofA, again)
	}
	for _, s := range []*Store{a, b} {
		list, err := s.Unsent(t.Context(), 99)
		ok(t, err)
		ok(t, s.MarkSent(t.Context(), list))
		ok(t, s.MarkSent(t.Context(), list))
	}
	counts, err := b.Count(t.Context())
	ok(t, err)
	if counts.Unsent != 0 || counts.OpenImages != 31 {
		t.Errorf("counts %+v", counts)
	}
}

// TestConflicts verifies that all concurrent writes to the same rows succeed, with correct
// counts.
func TestConflicts(t *testing.T) {
	t.Parallel()
	a, b, _ := pair(t)
	const jobs, images = 6, 20
	for i := range jobs {
		ok(t, a.Create(t.Context(), newJob(fmt.Sprint(i), images)))
	}
	var work sync.WaitGroup
	for g, s := range []*Store{a, b} {
		for i := range jobs {
			work.Go(func() {
				for index := range images {
					ref := job.Ref{JobID: fmt.Sprint(i), Index: (index + g*images/2) % images}
					if _, _, err := s.Change(t.Context(), ref, settled(ref), t0); err != nil {
						t.Error(err)
					}
				}
			})
		}
		work.Go(func() {
			for range 20 {
				list, err := s.Unsent(t.Context(), 50)
				if err == nil {
					err = s.MarkSent(t.Context(), list)
				}
				if err == nil {
					_, err = s.Resend(t.Context(), t0.Add(time.Hour))
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	counts, err := a.Count(t.Context())
	ok(t, err)
	if counts != (job.Counts{Jobs: jobs}) {
		t.Errorf("counts %+v", counts)
	}
	var total int64
	for i := range jobs {
		j, err := b.Get(t.Context(), fmt.Sprint(i))
		ok(t, err)
		total += int64(j.Completed)
		if j.Status != job.Completed || j.Revision != images+1 {
			t.Errorf("job is %s with revision %d", j.Status, j.Revision)
		}
	}
	if total != jobs*images {
		t.Errorf("%d images completed", total)
	}
}

// TestUnstorableTexts verifies that texts that PostgreSQL does not accept are stored with
// replacement characters, and that IDs that it does not accept match no job.
func TestUnstorableTexts(t *testing.T) {
	t.Parallel()
	s := openURL(t, schema(t))
	for _, id := range []string{"\x00", "a\x00b", "\xff"} {
		if _, err := s.Get(t.Context(), id); !errors.Is(err, job.ErrNotFound) {
			t.Errorf("job %q: %v", id, err)
		}
	}
	ok(t, s.Create(t.Context(), newJob("job", 1)))
	f := &pipeline.Failure{Code: pipeline.CodeDamaged, Text: "bad \x00 text \xff"}
	ref := job.Ref{JobID: "job"}
	_, _, err := s.Change(t.Context(), ref, job.Settle(f.Result(pipeline.NewEnvelope("job", 0, t0), t0), t0), t0)
	ok(t, err)
	j, err := s.Get(t.Context(), "job")
	ok(t, err)
	if j.Images[0].Error != "bad \ufffd text \ufffd" {
		t.Errorf("error is %q", j.Images[0].Error)
	}
}
