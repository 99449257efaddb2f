package jobtest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// claimAll claims the due deliveries of the webhook for 20 seconds.
func claimAll(t *testing.T, s Store, webhook string, now time.Time) []job.Delivery {
	t.Helper()
	list, err := s.ClaimDeliveries(t.Context(), webhook, now, now.Add(20*time.Second), 99)
	ok(t, err)
	return list
}

// claimOne claims the only due delivery of the webhook.
func claimOne(t *testing.T, s Store, webhook string, now time.Time) job.Delivery {
	t.Helper()
	list := claimAll(t, s, webhook, now)
	if len(list) != 1 {
		t.Fatalf("%d deliveries are due, want 1", len(list))
	}
	return list[0]
}

// log returns the deliveries of the webhook, the newest first.
func log(t *testing.T, s Store, webhook string) []job.Delivery {
	t.Helper()
	list, err := s.Deliveries(t.Context(), webhook, 0, 99)
	ok(t, err)
	return list
}

// ends are all ways in which a job ends.
var ends = []struct {
	name string
	want job.EventType
	end  func(t *testing.T, s Store, owner string) *job.Job
}{
	{"at its creation", job.JobFailed, func(t *testing.T, s Store, owner string) *job.Job {
		j := job.New(newID(), []job.Image{{Status: job.Failed, Error: "Invalid base64 data"}}, at(3))
		j.Owner = owner
		return create(t, s, j)
	}},
	{"with a result", job.JobCompleted, func(t *testing.T, s Store, owner string) *job.Job {
		j := inlineJob(2, at(0))
		j.Owner, j.Metadata, j.Origin = owner, map[string]string{"album": "\"été\" <&>"}, "origin"
		create(t, s, j)
		settleAll(t, s, j, at(3))
		return get(t, s, j.ID)
	}},
	{"with a failed result", job.JobFailed, func(t *testing.T, s Store, owner string) *job.Job {
		j := inlineJob(1, at(0))
		j.Owner = owner
		create(t, s, j)
		ref := job.Ref{JobID: j.ID}
		change(t, s, ref, job.Settle(failed(ref), at(3)), at(3))
		return get(t, s, j.ID)
	}},
	{"with a failed download", job.JobFailed, func(t *testing.T, s Store, owner string) *job.Job {
		j := fetchJob(1, at(0))
		j.Owner = owner
		create(t, s, j)
		claimed, err := s.Claim(t.Context(), "a", at(1), at(15), 1)
		ok(t, err)
		f := &pipeline.Failure{Code: pipeline.CodeDownloadFailed, Text: "Failed to download image: connection failed"}
		change(t, s, job.Ref{JobID: j.ID}, job.FetchFailed(claimed[0].Lease, f, at(3)), at(3))
		return get(t, s, j.ID)
	}},
	{"by a cancel", job.JobCancelled, func(t *testing.T, s Store, owner string) *job.Job {
		j := inlineJob(2, at(0))
		j.Owner = owner
		create(t, s, j)
		_, _, err := s.Cancel(t.Context(), j.ID, at(3))
		ok(t, err)
		return get(t, s, j.ID)
	}},
}

func testDeliveries(t *testing.T, open func(*testing.T) Store) {
	t.Run("a job that ends", func(t *testing.T) {
		for _, c := range ends {
			t.Run(c.name, func(t *testing.T) {
				s := open(t)
				mine, other, all := addHook(t, s, "anna"), addHook(t, s, "bert"), hook("")
				all.Listed = true
				_, err := s.ListWebhooks(t.Context(), []job.Webhook{all}, at(0))
				ok(t, err)
				some := hook("anna")
				some.Events = []job.EventType{job.JobCompleted}
				ok(t, s.AddWebhook(t.Context(), some))
				j := c.end(t, s, "anna")
				for _, w := range []job.Webhook{mine, all} {
					d := claimOne(t, s, w.ID, at(3))
					metadata := ""
					if j.Metadata != nil && j.Metadata["album"] != "" {
						metadata = `,"metadata":{"album":"\"été\" <&>"}`
						if _, has := j.Metadata[""]; has {
							metadata = `,"metadata":{"":"","album":"\"été\" '\\'"}`
						}
					}
					body := fmt.Sprintf(`{"type":%q,"timestamp":"2026-01-02T03:04:08Z","data":{"job_id":%q,"status":%q,"total_images":%d,"completed":%d,"failed":%d%s}}`,
						c.want, j.ID, j.Status, j.Total, j.Completed, j.Failed, metadata)
					same(t, "delivery", d, job.Delivery{
						Seq: d.Seq, Webhook: w.ID, Message: "msg_" + j.ID, Type: c.want, JobID: j.ID, Body: body, Origin: j.Origin,
						CreatedAt: j.CompletedAt, NextAt: at(23), Epoch: 1,
					})
				}
				same(t, "deliveries to another name", len(log(t, s, other.ID)), 0)
				want := 0
				if c.want == job.JobCompleted {
					want = 1
				}
				same(t, "deliveries of one type only", len(log(t, s, some.ID)), want)

				// Nothing ends it again, and its deliveries outlive it.
				_, _, err = s.Cancel(t.Context(), j.ID, at(4))
				ok(t, err)
				_, err = s.Hide(t.Context(), at(9), 9)
				ok(t, err)
				ok(t, s.ForgetOriginals(t.Context(), j.ID, at(9)))
				ok(t, s.Delete(t.Context(), j.ID))
				same(t, "deliveries after the job is deleted", len(log(t, s, mine.ID)), 1)
			})
		}
	})
	t.Run("a job without an owner", func(t *testing.T) {
		s := open(t)
		hers, all := addHook(t, s, "anna"), hook("")
		_, err := s.ListWebhooks(t.Context(), []job.Webhook{all}, at(0))
		ok(t, err)
		create(t, s, job.New(newID(), []job.Image{{Status: job.Failed}}, at(3)))
		same(t, "deliveries of the operator", len(log(t, s, all.ID)), 1)
		same(t, "deliveries of a name", len(log(t, s, hers.ID)), 0)
	})
	// one returns a store with one delivery of one webhook.
	one := func(t *testing.T) (Store, job.Webhook) {
		t.Helper()
		s := open(t)
		w := addHook(t, s, "anna")
		ends[0].end(t, s, "anna")
		return s, w
	}
	t.Run("a lease", func(t *testing.T) {
		s, w := one(t)
		gives(t, "due", []job.Webhook{w})(s.DueWebhooks(t.Context(), at(3)))
		first := claimOne(t, s, w.ID, at(3))
		same(t, "due while leased", hookIDs(t)(s.DueWebhooks(t.Context(), at(22))), []string{})
		same(t, "claimed while leased", len(claimAll(t, s, w.ID, at(22))), 0)
		// Its holder was killed: the next one gets the same message, and the first is rejected.
		same(t, "due again", hookIDs(t)(s.DueWebhooks(t.Context(), at(23))), []string{w.ID})
		second := claimOne(t, s, w.ID, at(23))
		same(t, "epoch", second.Epoch, 2)
		same(t, "message", []string{second.Message, second.Body}, []string{first.Message, first.Body})
		_, err := s.RecordAttempt(t.Context(), first, job.Attempt{At: at(24), Delivered: true, Status: 200})
		wantErr(t, err, job.ErrLeaseLost)
		ok(t, s.ReturnDelivery(t.Context(), first)) // has no effect
		same(t, "claimed", len(claimAll(t, s, w.ID, at(24))), 0)
		ok(t, s.ReturnDelivery(t.Context(), second))
		third := claimOne(t, s, w.ID, at(24))
		same(t, "attempts", third.Attempts, 0)
		_, err = s.RecordAttempt(t.Context(), third, job.Attempt{At: at(25), Delivered: true, Status: 204})
		ok(t, err)
		_, err = s.RecordAttempt(t.Context(), third, job.Attempt{At: at(25), Delivered: true, Status: 204})
		wantErr(t, err, job.ErrLeaseLost)
		third.Attempts, third.LastAt, third.LastStatus, third.NextAt, third.EndedAt, third.Delivered = 1, at(25), 204, time.Time{}, at(25), true
		same(t, "log", log(t, s, w.ID), []job.Delivery{third})
		same(t, "due after its end", hookIDs(t)(s.DueWebhooks(t.Context(), at(999999))), []string{})
	})
	t.Run("concurrent claims", func(t *testing.T) {
		s := open(t)
		w := addHook(t, s, "anna")
		for range 20 {
			ends[0].end(t, s, "anna")
		}
		got := make([][]job.Delivery, 4)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				for range 5 {
					list, err := s.ClaimDeliveries(t.Context(), w.ID, at(3), at(23), 2)
					if err != nil {
						t.Error(err)
					}
					got[i] = append(got[i], list...)
				}
			})
		}
		wg.Wait()
		seen := map[int64]int{}
		for _, list := range got {
			for _, d := range list {
				seen[d.Seq]++
			}
		}
		for _, d := range claimAll(t, s, w.ID, at(3)) { // rows that others were just taking were skipped
			seen[d.Seq]++
		}
		if len(seen) != 20 {
			t.Errorf("%d deliveries were claimed, want 20", len(seen))
		}
		for seq, n := range seen {
			if n != 1 {
				t.Errorf("delivery %d was claimed %d times", seq, n)
			}
		}
	})
	t.Run("failed attempts", func(t *testing.T) {
		s, w := one(t)
		attempt := func(d job.Delivery, a job.Attempt) bool {
			disabled, err := s.RecordAttempt(t.Context(), d, a)
			ok(t, err)
			return disabled
		}
		failing := func(want time.Time) {
			t.Helper()
			now, err := s.Webhook(t.Context(), w.ID)
			ok(t, err)
			same(t, "failing since", now.FailingSince, want)
		}
		attempt(claimOne(t, s, w.ID, at(3)), job.Attempt{At: at(4), Status: 500, Error: "status code 500", Next: at(9)})
		failing(at(4))
		same(t, "due early", len(claimAll(t, s, w.ID, at(8))), 0)
		d := claimOne(t, s, w.ID, at(9))
		same(t, "outcome", []any{d.Attempts, d.LastAt, d.LastStatus, d.LastError}, []any{1, at(4), 500, "status code 500"})
		attempt(d, job.Attempt{At: at(10), Error: "connection failed", Next: at(20)})
		failing(at(4))
		ok(t, s.AddTest(t.Context(), job.TestMessage(w.ID, newID(), at(11))))
		attempt(claimOne(t, s, w.ID, at(11)), job.Attempt{At: at(12), Delivered: true, Status: 200})
		failing(time.Time{})
		ok(t, s.AddTest(t.Context(), job.TestMessage(w.ID, newID(), at(12))))
		attempt(claimOne(t, s, w.ID, at(12)), job.Attempt{At: at(13), Status: 500})
		failing(time.Time{}) // a test is not evidence

		start := at(20)
		attempt(claimOne(t, s, w.ID, start), job.Attempt{At: start, Next: start.Add(time.Hour)})
		almost := start.Add(job.WebhookFailTime - time.Microsecond)
		same(t, "disabled early", attempt(claimOne(t, s, w.ID, almost), job.Attempt{At: almost, Next: almost.Add(time.Hour)}), false)
		end := start.Add(job.WebhookFailTime + time.Hour)
		same(t, "disabled", attempt(claimOne(t, s, w.ID, end), job.Attempt{At: end, Next: end.Add(time.Hour)}), true)
		now, err := s.Webhook(t.Context(), w.ID)
		ok(t, err)
		same(t, "reason", []any{now.DisabledAt, now.DisabledReason}, []any{end, "All deliveries have failed for 5 days"})
		ends[0].end(t, s, "anna")
		same(t, "deliveries after that", len(log(t, s, w.ID)), 3)
		same(t, "due", hookIDs(t)(s.DueWebhooks(t.Context(), end.Add(time.Hour))), []string{})
		wantErr(t, s.AddTest(t.Context(), job.TestMessage(w.ID, newID(), at(12))), job.ErrWebhookDisabled)
		gives(t, "dropped", 0)(s.PruneDeliveries(t.Context(), end, job.MaxDeliveries))
		oldest := log(t, s, w.ID)[len(log(t, s, w.ID))-1:]
		same(t, "pending delivery", []any{oldest[0].EndedAt, oldest[0].LastError, oldest[0].Delivered}, []any{end, "The webhook is disabled", false})
	})
	t.Run("410", func(t *testing.T) {
		s, w := one(t)
		disabled, err := s.RecordAttempt(t.Context(), claimOne(t, s, w.ID, at(3)), job.Attempt{At: at(4), Status: 410, Error: "status code 410", Disable: "gone"})
		ok(t, err)
		same(t, "disabled", disabled, true)
		now, err := s.Webhook(t.Context(), w.ID)
		ok(t, err)
		same(t, "reason", []any{now.DisabledAt, now.DisabledReason}, []any{at(4), "gone"})
	})
	t.Run("pages", func(t *testing.T) {
		s := open(t)
		w := addHook(t, s, "anna")
		for range 5 {
			ends[0].end(t, s, "anna")
		}
		all := log(t, s, w.ID)
		gives(t, "first page", all[:2])(s.Deliveries(t.Context(), w.ID, 0, 2))
		gives(t, "second page", all[2:4])(s.Deliveries(t.Context(), w.ID, all[1].Seq, 2))
		gives(t, "last page", all[4:])(s.Deliveries(t.Context(), w.ID, all[3].Seq, 2))
	})
	t.Run("pending", func(t *testing.T) {
		s := open(t)
		pending := func(most, want int, oldest time.Time) {
			t.Helper()
			n, first, err := s.PendingDeliveries(t.Context(), most)
			ok(t, err)
			same(t, "pending", []any{n, first}, []any{want, oldest})
		}
		pending(9, 0, time.Time{})
		w := addHook(t, s, "anna")
		for i := range 3 {
			ok(t, s.AddTest(t.Context(), job.TestMessage(w.ID, newID(), at(i))))
		}
		pending(9, 3, at(0))
		pending(2, 2, at(0))
		_, err := s.RecordAttempt(t.Context(), claimAll(t, s, w.ID, at(3))[0], job.Attempt{At: at(3), Delivered: true})
		ok(t, err)
		pending(9, 2, at(1))
	})
	t.Run("old deliveries are deleted", func(t *testing.T) {
		s, w := one(t)
		_, err := s.RecordAttempt(t.Context(), claimOne(t, s, w.ID, at(3)), job.Attempt{At: at(4), Delivered: true})
		ok(t, err)
		ends[0].end(t, s, "anna") // stays pending
		gives(t, "dropped", 0)(s.PruneDeliveries(t.Context(), at(4).Add(job.DeliveryRetention), 9))
		same(t, "deliveries after 7 days", len(log(t, s, w.ID)), 2)
		gives(t, "dropped", 0)(s.PruneDeliveries(t.Context(), at(5).Add(job.DeliveryRetention), 9))
		left := log(t, s, w.ID)
		if len(left) != 1 || !left[0].EndedAt.IsZero() {
			t.Errorf("after more than 7 days there are %+v, want the pending one", left)
		}
	})
	t.Run("a webhook has a limited number", func(t *testing.T) {
		s := open(t)
		w, other := addHook(t, s, "anna"), addHook(t, s, "bert")
		ends[0].end(t, s, "bert")
		for range 6 {
			ends[0].end(t, s, "anna")
		}
		all := log(t, s, w.ID)
		for _, d := range claimAll(t, s, w.ID, at(3)) {
			if d.Seq == all[4].Seq || d.Seq == all[1].Seq {
				_, err := s.RecordAttempt(t.Context(), d, job.Attempt{At: at(4), Delivered: true})
				ok(t, err)
			}
		}
		seqs := func() (list []int64) {
			for _, d := range log(t, s, w.ID) {
				list = append(list, d.Seq)
			}
			return list
		}
		gives(t, "dropped", 0)(s.PruneDeliveries(t.Context(), at(5), 6))
		same(t, "number", len(seqs()), 6)
		gives(t, "dropped", 0)(s.PruneDeliveries(t.Context(), at(5), 5))
		same(t, "without the oldest that has ended", seqs(), []int64{all[0].Seq, all[1].Seq, all[2].Seq, all[3].Seq, all[5].Seq})
		gives(t, "dropped", 2)(s.PruneDeliveries(t.Context(), at(5), 2))
		same(t, "without the oldest pending ones", seqs(), []int64{all[0].Seq, all[2].Seq})
		same(t, "deliveries of another", len(log(t, s, other.ID)), 1)
	})
	t.Run("a removed webhook loses its deliveries", func(t *testing.T) {
		s, w := one(t)
		leased := claimOne(t, s, w.ID, at(3))
		ok(t, s.RemoveWebhook(t.Context(), w.ID, at(4)))
		ends[0].end(t, s, "anna")
		same(t, "deliveries of a removed webhook", len(log(t, s, w.ID)), 1)
		same(t, "due", hookIDs(t)(s.DueWebhooks(t.Context(), at(99))), []string{})
		gives(t, "dropped", 0)(s.PruneDeliveries(t.Context(), at(5), 9))
		same(t, "deliveries", len(log(t, s, w.ID)), 0)
		_, err := s.RecordAttempt(t.Context(), leased, job.Attempt{At: at(5), Delivered: true})
		wantErr(t, err, job.ErrLeaseLost)
		ok(t, s.AddWebhook(t.Context(), w)) // its row is gone, too
	})
}
