package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // #nosec G101 -- of a test

// hookReceiver records the messages with a valid signature.
type hookReceiver struct {
	*httptest.Server

	mu  sync.Mutex // guards got
	got []string   // webhook-id and body of each message
}

func newHookReceiver(t *testing.T) *hookReceiver {
	t.Helper()
	reference, err := standardwebhooks.NewWebhook(hookSecret)
	must(t, err)
	h := &hookReceiver{}
	h.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = reference.Verify(body, req.Header)
		}
		if err != nil {
			t.Errorf("a message is not valid: %v", err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, req.Header.Get("Webhook-Id")+" "+string(body))
	}))
	t.Cleanup(h.Close)
	return h
}

// messages returns all messages about the job.
func (h *hookReceiver) messages(job string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.got), func(m string) bool { return !strings.Contains(m, job) })
}

// TestCrashInWebhooks kills a gateway at each point of the delivery of a message: before the
// transaction that writes it commits, before the attempt, after the receiver has got it, and
// after that is recorded. It verifies that the message about every job arrives, and that a
// repetition is the same message with the same ID. Of several gateways, the first that reaches
// the point is killed.
func TestCrashInWebhooks(t *testing.T) {
	for _, store := range []struct {
		name     string
		gateways []string
	}{
		{"sqlite", []string{"gateway"}},
		{"postgres", []string{"gateway-1", "gateway-2"}},
	} {
		t.Run(store.name, func(t *testing.T) {
			s := testServers(t)
			p := &plan{number: 1, names: append([]string{"analyzer", "processor"}, store.gateways...), postgres: len(store.gateways) > 1}
			if s.dir = os.Getenv("TEST_SERVERS_DIR"); p.postgres && s.dir == "" {
				t.Skip("TEST_SERVERS_DIR is not set")
			}
			to := newHookReceiver(t)
			file := filepath.Join(t.TempDir(), "webhooks")
			must(t, os.WriteFile(file, []byte(to.URL+"/hook "+hookSecret+"\n"), 0o600))
			r := startPlan(t, p, s, "WEBHOOKS_FILE="+file, "WEBHOOK_ALLOW_NETWORKS=127.0.0.0/8")
			var jobs []string
			for i, c := range []struct {
				point    string
				messages int // that the receiver gets about the job
			}{
				{"webhooks enqueued", 1},
				{"webhook leased", 1},
				{"webhook sent", 2},
				{"webhook recorded", 1},
			} {
				t.Run(c.point, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), endTime)
					defer cancel()
					revived := r.arm(t, c.point, store.gateways...)
					id := r.submit(ctx, 0, &batch{images: []source{r.good[i]}})
					revived()
					j := r.job(t, id)
					jobs = append(jobs, id)
					if err := poll(ctx, 50*time.Millisecond, func() bool { return len(to.messages(id)) >= c.messages }); err != nil {
						t.Fatalf("the receiver got %d messages about the job, want %d", len(to.messages(id)), c.messages)
					}
					want := fmt.Sprintf(`msg_%s {"type":"job.completed","timestamp":%q,"data":{"job_id":%q,"status":"completed","total_images":1,"completed":1,"failed":0}}`,
						id, j.CompletedAt.Format(time.RFC3339), id)
					// The next point kills the gateways, which must have recorded the outcome.
					must(t, poll(ctx, 50*time.Millisecond, func() bool {
						a, err := get(ctx, r.gateway(0).url("/metrics"))
						return err == nil && strings.Contains(string(a.body), "\nimagebatch_webhook_pending_deliveries 0\n")
					}))
					for _, got := range to.messages(id) {
						if got != want {
							t.Errorf("got\n%s\nwant\n%s", got, want)
						}
					}
				})
			}
			// A message about one more job, which nothing disturbs, shows that no other is on its way.
			ctx, cancel := context.WithTimeout(t.Context(), endTime)
			defer cancel()
			id := r.submit(ctx, 0, &batch{images: []source{r.good[0]}})
			must(t, poll(ctx, 50*time.Millisecond, func() bool { return len(to.messages(id)) > 0 }))
			for i, id := range jobs {
				if got, want := len(to.messages(id)), []int{1, 1, 2, 1}[i]; got != want {
					t.Errorf("the receiver got %d messages about job %d, want %d", got, i, want)
				}
			}
		})
	}
}
