package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// TestDelivered verifies one message with the reference library, its timestamp included.
func TestDelivered(t *testing.T) {
	r, to := setup(t), newReceiver(t)
	w := r.hook("anna", to.URL+"/hook?token=t0p")
	j := r.end("anna")
	r.end("bert")
	r.step()
	m := to.one()
	reference, err := standardwebhooks.NewWebhook(w.Secret.Reveal())
	r.must(err)
	r.must(reference.Verify([]byte(m.body), m.header))
	if m.verify(NewSecret()) == nil || (message{m.header, m.body + " "}).verify(w.Secret) == nil {
		t.Error("a wrong secret or a changed body passes the verification")
	}
	want := fmt.Sprintf(`{"type":"job.failed","timestamp":%q,"data":{"job_id":%q,"status":"failed","total_images":1,"completed":0,"failed":1,"metadata":{"album":"été"}}}`,
		r.clock().Format(time.RFC3339), j.ID)
	if m.body != want || m.id() != "msg_"+j.ID || !m.at().Equal(r.clock()) {
		t.Errorf("got %s at %v\n%s\nwant %s", m.id(), m.at(), m.body, want)
	}
	wantDelivery(t, r.last(w), 1, 200, "", true, true)
	r.step()
	to.none()
	telemetrytest.Expect(t, r.metrics, `webhook_attempts_total{outcome="delivered"} 1`, `webhook_deliveries_total{outcome="delivered"} 1`,
		`webhook_attempt_duration_seconds_count 1`, `webhook_pending_deliveries 0`, `webhook_oldest_pending_age_seconds 0`)
	for _, secret := range []string{w.Secret.Reveal(), "t0p"} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// TestRetries follows a message to a receiver that always fails, up to its last attempt.
func TestRetries(t *testing.T) {
	r, to := setup(t), newReceiver(t).status(500)
	w := r.hook("anna", to.URL)
	j := r.end("anna")
	wanted := []time.Duration{
		5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
	}
	for i := range len(wanted) + 1 {
		r.step()
		m := to.one()
		r.must(m.verify(w.Secret))
		if m.id() != "msg_"+j.ID || !m.at().Equal(r.clock().Truncate(time.Second)) {
			t.Errorf("attempt %d has the ID %s and the time %v, want msg_%s and %v", i+1, m.id(), m.at(), j.ID, r.clock())
		}
		d := r.last(w)
		if i == len(wanted) {
			wantDelivery(t, d, i+1, 500, "status code 500", true, false)
			break
		}
		wantDelivery(t, d, i+1, 500, "status code 500", false, false)
		pause := d.NextAt.Sub(r.clock())
		if pause < wanted[i]*9/10 || pause > wanted[i]*11/10 {
			t.Errorf("the pause after attempt %d is %v, want about %v", i+1, pause, wanted[i])
		}
		r.advance(pause - time.Millisecond)
		r.step()
		to.none()
		r.advance(time.Millisecond)
	}
	telemetrytest.Expect(t, r.metrics, `webhook_attempts_total{outcome="rejected"} 10`, `webhook_deliveries_total{outcome="failed"} 1`)
	// The webhook itself has failed for three days only.
	now, err := r.store.Webhook(t.Context(), w.ID)
	r.must(err)
	if !now.DisabledAt.IsZero() {
		t.Errorf("the webhook is disabled: %s", now.DisabledReason)
	}
	r.advance(2 * 24 * time.Hour)
	r.end("anna")
	r.step()
	to.one()
	now, err = r.store.Webhook(t.Context(), w.ID)
	r.must(err)
	if now.DisabledAt.IsZero() {
		t.Error("the webhook is enabled after five days of failed attempts")
	}
	telemetrytest.Expect(t, r.metrics, `webhooks_disabled_total 1`)
}

// TestRetryAfter verifies that a busy receiver makes a pause longer, but neither shorter nor endless.
func TestRetryAfter(t *testing.T) {
	for _, c := range []struct {
		status int
		after  string
		want   time.Duration
	}{
		{503, "120", 2 * time.Minute},
		{429, "120", 2 * time.Minute},
		{503, "an hour", time.Hour},
		{503, "1", 5 * time.Second},
		{503, "later", 5 * time.Second},
		{503, "1000000", 24 * time.Hour},
		{500, "120", 5 * time.Second},
	} {
		r, to := setup(t), newReceiver(t)
		to.then(func(w http.ResponseWriter, _ *http.Request) {
			after := c.after
			if after == "an hour" {
				after = r.clock().Add(time.Hour).UTC().Format(http.TimeFormat)
			}
			w.Header().Set("Retry-After", after)
			w.WriteHeader(c.status)
		})
		w := r.hook("anna", to.URL)
		r.end("anna")
		r.step()
		to.one()
		d := r.last(w)
		wantDelivery(t, d, 1, c.status, fmt.Sprint("status code ", c.status), false, false)
		if pause := d.NextAt.Sub(r.clock()); (pause - c.want).Abs() > time.Second {
			t.Errorf("the pause after %d with Retry-After: %s is %v, want %v", c.status, c.after, pause, c.want)
		}
	}
}

// TestResponses verifies what the responses of a receiver mean.
func TestResponses(t *testing.T) {
	for status, text := range map[int]string{
		200: "", 202: "", 204: "", 299: "", 301: "status code 301; redirects are not followed", 307: "status code 307; redirects are not followed",
		400: "status code 400", 404: "status code 404", 429: "status code 429", 503: "status code 503",
	} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r, target := setup(t), newReceiver(t)
			to := newReceiver(t).then(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", target.URL)
				w.WriteHeader(status)
			})
			w := r.hook("anna", to.URL)
			r.end("anna")
			r.step()
			to.one()
			target.none()
			wantDelivery(t, r.last(w), 1, status, text, text == "", text == "")
		})
	}
	t.Run("410", func(t *testing.T) {
		r, to := setup(t), newReceiver(t).status(410)
		w := r.hook("anna", to.URL)
		r.end("anna")
		r.step()
		to.one()
		wantDelivery(t, r.last(w), 1, 410, "status code 410", true, false)
		r.end("anna")
		r.step()
		to.none()
		now, err := r.store.Webhook(t.Context(), w.ID)
		r.must(err)
		if now.DisabledReason != "The receiver has responded with 410 Gone" {
			t.Errorf("the webhook is disabled because %q", now.DisabledReason)
		}
		if !strings.Contains(r.log.String(), "webhook disabled") {
			t.Errorf("the log does not say that the webhook is disabled:\n%s", r.log.String())
		}
	})
	t.Run("a test has one attempt", func(t *testing.T) {
		r, to := setup(t), newReceiver(t).status(500)
		w := r.hook("anna", to.URL)
		r.must(r.store.AddTest(t.Context(), job.TestMessage(w.ID, "1", r.clock())))
		r.step()
		m := to.one()
		r.must(m.verify(w.Secret))
		if want := fmt.Sprintf(`{"type":"webhook.test","timestamp":%q,"data":{"webhook_id":%q}}`, r.clock().Format(time.RFC3339), w.ID); m.body != want {
			t.Errorf("got %s, want %s", m.body, want)
		}
		wantDelivery(t, r.last(w), 1, 500, "status code 500", true, false)
	})
}

// TestBadReceivers verifies that no receiver holds an attempt for longer than its time, and what
// a client reads about it.
func TestBadReceivers(t *testing.T) {
	attempt := func(t *testing.T, url string, allow bool) (*rig, job.Webhook) {
		t.Helper()
		r := setup(t)
		if !allow {
			r.Deliverer = r.deliverer(Config{}, telemetry.NewRegistry())
		}
		r.client.timeout = 2 * time.Second
		w := r.hook("anna", url)
		r.end("anna")
		r.step()
		return r, w
	}
	hang := func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }
	t.Run("hangs", func(t *testing.T) {
		to := newReceiver(t).then(hang)
		r, w := attempt(t, to.URL, true)
		to.one()
		wantDelivery(t, r.last(w), 1, 0, "no response within 10 seconds", false, false)
	})
	t.Run("hangs in its body", func(t *testing.T) {
		to := newReceiver(t).then(func(w http.ResponseWriter, req *http.Request) {
			_ = http.NewResponseController(w).Flush()
			hang(w, req)
		})
		r, w := attempt(t, to.URL, true)
		wantDelivery(t, r.last(w), 1, 200, "", true, true)
	})
	t.Run("endless body", func(t *testing.T) {
		written := make(chan int, 1)
		to := newReceiver(t).then(func(w http.ResponseWriter, _ *http.Request) {
			total := 0
			for {
				n, err := io.WriteString(w, strings.Repeat("x", 1<<10))
				if total += n; err != nil {
					written <- total
					return
				}
			}
		})
		r := setup(t)
		r.client.timeout = 10 * time.Second // The limit of the bytes ends the attempt.
		w := r.hook("anna", to.URL)
		r.end("anna")
		r.step()
		wantDelivery(t, r.last(w), 1, 200, "", true, true)
		if n := <-written; n > 32<<20 { // what fits into the buffers of the connection is less
			t.Errorf("the receiver could write %d bytes", n)
		}
	})
	t.Run("endless header", func(t *testing.T) {
		to := newReceiver(t).then(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 100<<10))
		})
		r, w := attempt(t, to.URL, true)
		wantDelivery(t, r.last(w), 1, 0, "no valid response", false, false)
	})
	t.Run("closes the connection", func(t *testing.T) {
		to := newReceiver(t).then(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		r, w := attempt(t, to.URL, true)
		wantDelivery(t, r.last(w), 1, 0, "no valid response", false, false)
	})
	t.Run("certificate", func(t *testing.T) {
		to := httptest.NewTLSServer(http.NotFoundHandler())
		to.Config.ErrorLog = nil
		t.Cleanup(to.Close)
		r, w := attempt(t, to.URL, true)
		wantDelivery(t, r.last(w), 1, 0, "certificate is not valid", false, false)
	})
	t.Run("nothing listens", func(t *testing.T) {
		to := newReceiver(t)
		to.Close()
		r, w := attempt(t, to.URL, true)
		wantDelivery(t, r.last(w), 1, 0, "connection failed", false, false)
	})
	t.Run("private address", func(t *testing.T) {
		to := newReceiver(t)
		for _, url := range []string{to.URL, strings.Replace(to.URL, "127.0.0.1", "localhost", 1)} {
			r, w := attempt(t, url, false)
			to.none()
			wantDelivery(t, r.last(w), 1, 0, "connection failed", false, false)
		}
	})
}

// TestCheckURL verifies which URLs a webhook may have.
func TestCheckURL(t *testing.T) {
	for url, want := range map[string]string{
		"https://example.com/hook?a=b": "", "http://example.com:8080/": "", " https://EXAMPLE.com/#top": "", "http://93.184.215.14/": "",
		"http://127.0.0.1:9/": "", // allowed
		"":                    "Unsupported URL scheme: only http and https are allowed", "ftp://example.com/": "Unsupported URL scheme: only http and https are allowed",
		"https://":                                         "Invalid URL",
		"https://user:secret@example.com/":                 "Invalid URL: it must not contain a user name or password",
		"http://10.0.0.1/":                                 "URL not allowed: want a public address on port 80 or 443",
		"http://169.254.169.254/latest":                    "URL not allowed: want a public address on port 80 or 443",
		"http://[::1]/":                                    "URL not allowed: want a public address on port 80 or 443",
		"http://[::ffff:10.0.0.1]/":                        "URL not allowed: want a public address on port 80 or 443",
		"https://93.184.215.14:22/":                        "URL not allowed: want a public address on port 80 or 443",
		"https://example.com/" + strings.Repeat("x", 2048): "URL is longer than 2048 bytes",
	} {
		_, err := CheckURL(url, loopback)
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && got != want {
			t.Errorf("%s: got %v, want %q", url, err, want)
		}
	}
	if got, err := CheckURL(" HTTPS://EXAMPLE.com:443/a b#top", nil); got != "https://example.com/a%20b" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

// TestRotation verifies that the previous secret signs for a day.
func TestRotation(t *testing.T) {
	r, to := setup(t), newReceiver(t)
	w := r.hook("anna", to.URL)
	fresh := NewSecret()
	_, err := r.store.RotateSecret(t.Context(), w.ID, fresh, r.clock().Add(OldSecretTime))
	r.must(err)
	r.end("anna")
	r.step()
	m := to.one()
	if n := len(strings.Split(m.header.Get("webhook-signature"), " ")); n != 2 {
		t.Errorf("there are %d signatures, want 2", n)
	}
	r.must(errors.Join(m.verify(w.Secret), m.verify(fresh)))
	r.advance(OldSecretTime)
	r.end("anna")
	r.step()
	m = to.one()
	r.must(m.verify(fresh))
	if m.verify(w.Secret) == nil {
		t.Error("the old secret still signs after a day")
	}
}

// TestKilled verifies that the message of a gateway that died during an attempt is sent again by
// another, with the same ID.
func TestKilled(t *testing.T) {
	r, to := setup(t), newReceiver(t)
	w := r.hook("anna", to.URL)
	j := r.end("anna")
	_, err := r.store.ClaimDeliveries(t.Context(), w.ID, r.clock(), r.clock().Add(leaseTime), 4) // and then it dies
	r.must(err)
	r.step()
	to.none()
	r.advance(leaseTime)
	r.step()
	if m := to.one(); m.id() != "msg_"+j.ID {
		t.Errorf("the ID is %s, want msg_%s", m.id(), j.ID)
	}
	wantDelivery(t, r.last(w), 1, 200, "", true, true)
}

// TestStoreUnavailable verifies that an outcome is recorded after an outage of the job store.
func TestStoreUnavailable(t *testing.T) {
	r, to := setup(t), newReceiver(t)
	w := r.hook("anna", to.URL)
	r.end("anna")
	r.store.faults = 3
	r.step()
	to.one()
	wantDelivery(t, r.last(w), 1, 200, "", true, true)
}

// run runs deliverers until the returned function is called.
func (r *rig) run(list ...*Deliverer) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	done := make(chan error, len(list))
	for _, d := range list {
		go func() { done <- d.Run(ctx) }()
	}
	return func() {
		cancel()
		for range list {
			r.must(<-done)
		}
	}
}

// TestGateways verifies that of several gateways one delivers each message.
func TestGateways(t *testing.T) {
	r, to := setup(t), newReceiver(t)
	w := r.hook("anna", to.URL)
	var list []*Deliverer
	for range 3 {
		list = append(list, r.deliverer(Config{AllowNetworks: loopback, UserAgent: "Imagebatch/test"}, telemetry.NewRegistry()))
	}
	stop := r.run(list...)
	const n = 50
	seen := map[string]int{}
	for range n {
		r.end("anna")
		for _, d := range list {
			d.Wake()
		}
	}
	for range n {
		seen[(<-to.got).id()]++
	}
	stop()
	to.none()
	if len(seen) != n {
		t.Errorf("%d messages were received, want %d", len(seen), n)
	}
	for _, d := range r.deliveries(w) {
		wantDelivery(t, d, 1, 200, "", true, true)
	}
}

// TestHangingReceiver verifies that a receiver that hangs does not stop the messages to others.
func TestHangingReceiver(t *testing.T) {
	r, to := setup(t), newReceiver(t)
	release := make(chan struct{})
	hanging := newReceiver(t).then(func(http.ResponseWriter, *http.Request) { <-release })
	for range job.MaxWebhooks {
		r.hook("anna", hanging.URL)
	}
	r.hook("bert", to.URL)
	for range 2 * webhookPlaces {
		r.end("anna")
	}
	stop := r.run(r.Deliverer)
	for range ownerPlaces {
		<-hanging.got
	}
	for range 10 {
		j := r.end("bert")
		r.Wake()
		if m := <-to.got; m.id() != "msg_"+j.ID {
			t.Errorf("got %s, want msg_%s", m.id(), j.ID)
		}
	}
	hanging.none() // the name has no more places
	close(release)
	stop()
}

// TestFailingWebhooks verifies that a failing webhook has one place, and that all failing ones
// leave half of the places.
func TestFailingWebhooks(t *testing.T) {
	r := setup(t)
	failing, other := job.Webhook{ID: "a", Owner: "anna", FailingSince: r.clock()}, job.Webhook{ID: "b", Owner: "bert"}
	if got := []int{r.free(&failing), r.free(&other)}; got[0] != 1 || got[1] != webhookPlaces {
		t.Errorf("the failing and the other webhook have %v places, want 1 and %d", got, webhookPlaces)
	}
	for i := range failingPlaces {
		w := failing
		w.ID, w.Owner = fmt.Sprint(i), fmt.Sprint(i)
		if r.free(&w) != 1 {
			t.Fatalf("failing webhook %d has no place", i)
		}
		_, entered := r.enter(&w, job.Delivery{Seq: int64(i)})
		if !entered {
			t.Fatal("a free place was not given")
		}
	}
	if got := []int{r.free(&failing), r.free(&other)}; got[0] != 0 || got[1] != webhookPlaces {
		t.Errorf("with all places of failing webhooks taken, they have %v, want 0 and %d", got, webhookPlaces)
	}
}

// TestDrain verifies that an attempt that does not end in time is returned when the gateway
// stops: another one makes it at once, and it does not count.
func TestDrain(t *testing.T) {
	r, to := setup(t), newReceiver(t)
	w := r.hook("anna", to.URL)
	j := r.end("anna")
	to.then(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	r.drain = 10 * time.Millisecond
	stop := r.run(r.Deliverer)
	<-to.got
	stop()
	wantDelivery(t, r.last(w), 0, 0, "", false, false)
	to.then(func(http.ResponseWriter, *http.Request) {})
	r.step()
	if m := to.one(); m.id() != "msg_"+j.ID {
		t.Errorf("the ID is %s, want msg_%s", m.id(), j.ID)
	}
	telemetrytest.Expect(t, r.metrics, `webhook_attempts_total{outcome="interrupted"} 1`)
}
