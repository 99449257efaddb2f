package jobtest

import (
	"sync"
	"testing"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// hook returns a new webhook for all types of messages.
func hook(owner string) job.Webhook {
	return job.Webhook{ //nolint:gosec // Its secret is none.
		ID: newID(), Owner: owner, URL: "https://example.com/hook?a='b'", Events: job.EventTypes, Secret: "whsec_'1'", CreatedAt: at(0),
	}
}

// addHook stores a new webhook of the owner.
func addHook(t *testing.T, s Store, owner string) job.Webhook {
	t.Helper()
	w := hook(owner)
	ok(t, s.AddWebhook(t.Context(), w))
	return w
}

// hookIDs returns the IDs of the webhooks, in order.
func hookIDs(t *testing.T) func([]job.Webhook, error) []string {
	return func(list []job.Webhook, err error) []string {
		t.Helper()
		ok(t, err)
		all := []string{}
		for _, w := range list {
			all = append(all, w.ID)
		}
		return all
	}
}

func testWebhooks(t *testing.T, open func(*testing.T) Store) {
	anna, bert := job.Viewer{Owner: "anna"}, job.Viewer{Owner: "bert"}

	t.Run("a webhook is read as it was stored", func(t *testing.T) {
		s := open(t)
		w := hook("anna")
		w.Events = []job.EventType{job.JobFailed}
		ok(t, s.AddWebhook(t.Context(), w))
		gives(t, "webhook", w)(s.Webhook(t.Context(), w.ID))
		gives(t, "list", []job.Webhook{w})(s.Webhooks(t.Context(), anna))
		same(t, "list of another", hookIDs(t)(s.Webhooks(t.Context(), bert)), []string{})
		same(t, "list without a name", hookIDs(t)(s.Webhooks(t.Context(), job.Viewer{})), []string{})
		same(t, "list of an operator", hookIDs(t)(s.Webhooks(t.Context(), job.Everybody)), []string{w.ID})
		_, err := s.Webhook(t.Context(), newID())
		wantErr(t, err, job.ErrNoWebhook)
	})
	t.Run("a name has ten", func(t *testing.T) {
		s := open(t)
		first := addHook(t, s, "anna")
		for range job.MaxWebhooks - 2 {
			addHook(t, s, "anna")
		}
		// Several gateways compete for the last place.
		errs := make([]error, 4)
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { errs[i] = s.AddWebhook(t.Context(), hook("anna")) })
		}
		wg.Wait()
		added := 0
		for _, err := range errs {
			if err == nil {
				added++
				continue
			}
			wantErr(t, err, job.ErrTooManyWebhooks)
		}
		same(t, "added", added, 1)
		addHook(t, s, "bert")
		ok(t, s.RemoveWebhook(t.Context(), first.ID, at(1)))
		addHook(t, s, "anna")
		wantErr(t, s.AddWebhook(t.Context(), hook("anna")), job.ErrTooManyWebhooks)
	})
	t.Run("a rotated secret signs with the previous one", func(t *testing.T) {
		s := open(t)
		w := addHook(t, s, "anna")
		want := w
		want.OldSecret, want.Secret, want.OldUntil = w.Secret, "whsec_2", at(60)
		gives(t, "rotated", want)(s.RotateSecret(t.Context(), w.ID, "whsec_2", at(60)))
		gives(t, "read", want)(s.Webhook(t.Context(), w.ID))
		want.OldSecret, want.Secret, want.OldUntil = "whsec_2", "whsec_3", at(90)
		gives(t, "rotated again", want)(s.RotateSecret(t.Context(), w.ID, "whsec_3", at(90)))
		_, err := s.RotateSecret(t.Context(), newID(), "whsec_2", at(60))
		wantErr(t, err, job.ErrNoWebhook)
	})
	t.Run("a removed webhook is gone", func(t *testing.T) {
		s := open(t)
		w := addHook(t, s, "anna")
		ok(t, s.RemoveWebhook(t.Context(), w.ID, at(1)))
		_, err := s.Webhook(t.Context(), w.ID)
		wantErr(t, err, job.ErrNoWebhook)
		wantErr(t, s.RemoveWebhook(t.Context(), w.ID, at(1)), job.ErrNoWebhook)
		wantErr(t, s.AddTest(t.Context(), job.TestMessage(w.ID, newID(), at(1))), job.ErrNoWebhook)
		same(t, "list", hookIDs(t)(s.Webhooks(t.Context(), anna)), []string{})
	})
	t.Run("the listed webhooks are replaced", func(t *testing.T) {
		s := open(t)
		own := addHook(t, s, "anna")
		all, hers := hook(""), hook("anna")
		all.Listed, hers.Listed = true, true
		gives(t, "removed", 0)(s.ListWebhooks(t.Context(), []job.Webhook{all, hers}, at(0)))
		gives(t, "listed", all)(s.Webhook(t.Context(), all.ID))
		same(t, "list of the name", hookIDs(t)(s.Webhooks(t.Context(), anna)), []string{own.ID})
		same(t, "number for an operator", len(hookIDs(t)(s.Webhooks(t.Context(), job.Everybody))), 3)
		_, err := s.RotateSecret(t.Context(), all.ID, "whsec_2", at(60))
		wantErr(t, err, job.ErrWebhookListed)
		wantErr(t, s.RemoveWebhook(t.Context(), all.ID, at(1)), job.ErrWebhookListed)

		// They are changed, enabled again, removed and added again.
		ok(t, s.AddTest(t.Context(), job.TestMessage(all.ID, newID(), at(1))))
		disabled, err := s.RecordAttempt(t.Context(), claimOne(t, s, all.ID, at(1)), job.Attempt{At: at(1), Status: 410, Disable: "gone"})
		ok(t, err)
		same(t, "disabled", disabled, true)
		all.Secret, all.OldSecret, all.OldUntil, all.Events = "whsec_2", "whsec_1", at(99), []job.EventType{job.JobFailed}
		gives(t, "removed", 1)(s.ListWebhooks(t.Context(), []job.Webhook{all}, at(2)))
		gives(t, "changed", all)(s.Webhook(t.Context(), all.ID))
		_, err = s.Webhook(t.Context(), hers.ID)
		wantErr(t, err, job.ErrNoWebhook)
		gives(t, "removed", 0)(s.ListWebhooks(t.Context(), []job.Webhook{hers, all}, at(0)))
		gives(t, "added again", hers)(s.Webhook(t.Context(), hers.ID))
		gives(t, "removed", 2)(s.ListWebhooks(t.Context(), nil, at(3)))
		same(t, "list", hookIDs(t)(s.Webhooks(t.Context(), job.Everybody)), []string{own.ID})
	})
}
