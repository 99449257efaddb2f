package webhook

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback allows the receivers of the tests.
var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// shakyStore is the real store, with faults on demand.
type shakyStore struct {
	*sqlstore.Store
	mu     sync.Mutex
	faults int // number of calls of RecordAttempt that are still to fail
}

func (s *shakyStore) RecordAttempt(ctx context.Context, d job.Delivery, a job.Attempt) (bool, error) {
	s.mu.Lock()
	fails := s.faults > 0
	s.faults--
	s.mu.Unlock()
	if fails {
		return false, job.ErrUnavailable
	}
	return s.Store.RecordAttempt(ctx, d, a)
}

// rig is a deliverer with a real store, whose clock the test sets.
type rig struct {
	testing.TB
	*Deliverer
	store   *shakyStore
	metrics *telemetry.Registry
	log     lockedBuffer

	mu  sync.Mutex // guards now
	now time.Time
}

func setup(t testing.TB) *rig {
	t.Helper()
	r := &rig{TB: t, metrics: telemetry.NewRegistry(), now: time.Now().UTC().Truncate(time.Second)}
	store, err := sqlstore.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "jobs.db"), slog.New(slog.DiscardHandler))
	r.must(err)
	t.Cleanup(func() { r.must(store.Close()) })
	r.store = &shakyStore{Store: store}
	r.Deliverer = r.deliverer(Config{AllowNetworks: loopback, UserAgent: "Imagebatch/test"}, r.metrics)
	return r
}

// deliverer returns another deliverer of the store.
func (r *rig) deliverer(c Config, m *telemetry.Registry) *Deliverer {
	log := slog.New(slog.NewJSONHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return New(c, Deps{Store: r.store, Log: log, Metrics: m, Now: r.clock})
}

type lockedBuffer struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// hook creates a webhook of the owner.
func (r *rig) hook(owner, url string) job.Webhook {
	r.Helper()
	w := job.Webhook{ID: uuid.NewString(), Owner: owner, URL: url, Events: job.EventTypes, Secret: NewSecret(), CreatedAt: r.clock()}
	r.must(r.store.AddWebhook(r.Context(), w))
	return w
}

// end ends a job of the owner.
func (r *rig) end(owner string) *job.Job {
	r.Helper()
	j := job.New(uuid.NewString(), []job.Image{{Status: job.Failed}}, r.clock())
	j.Owner, j.Metadata = owner, map[string]string{"album": "été"}
	r.must(r.store.Create(r.Context(), j))
	return j
}

// step makes all attempts that are due.
func (r *rig) step() {
	r.Helper()
	r.must(r.round(r.Context(), r.Context()))
	r.running.Wait()
}

// deliveries returns the deliveries of the webhook, the newest first.
func (r *rig) deliveries(w job.Webhook) []job.Delivery {
	r.Helper()
	list, err := r.store.Deliveries(r.Context(), w.ID, 0, 1000)
	r.must(err)
	return list
}

// last returns the newest delivery of the webhook.
func (r *rig) last(w job.Webhook) job.Delivery {
	r.Helper()
	list := r.deliveries(w)
	if len(list) == 0 {
		r.Fatal("the webhook has no delivery")
	}
	return list[0]
}

// message is one request that a receiver got.
type message struct {
	header http.Header
	body   string
}

// receiver is a strict receiver of messages: a request that breaks the specification fails the
// test.
type receiver struct {
	*httptest.Server
	t   testing.TB
	got chan message

	mu      sync.Mutex // guards respond
	respond http.HandlerFunc
}

func newReceiver(t testing.TB) *receiver {
	t.Helper()
	r := &receiver{t: t, got: make(chan message, 1000), respond: func(http.ResponseWriter, *http.Request) {}}
	r.Server = httptest.NewServer(http.HandlerFunc(r.receive))
	t.Cleanup(r.Close)
	return r
}

// then sets the response to the next messages.
func (r *receiver) then(respond http.HandlerFunc) *receiver {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.respond = respond
	return r
}

// status sets the status of the next responses.
func (r *receiver) status(code int) *receiver {
	return r.then(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

func (r *receiver) receive(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Errorf("read the body: %v", err)
	}
	want := http.Header{
		"Accept": {"*/*"}, "Content-Length": {strconv.Itoa(len(body))}, "Content-Type": {"application/json"}, "User-Agent": {"Imagebatch/test"},
		"Webhook-Id": nil, "Webhook-Timestamp": nil, "Webhook-Signature": nil, "Connection": {"close"},
	}
	if req.Method != http.MethodPost {
		r.t.Errorf("the method is %s, want POST", req.Method)
	}
	for name, values := range req.Header {
		if value, known := want[name]; !known || len(values) != 1 || value != nil && value[0] != values[0] {
			r.t.Errorf("the header %s is %q, want %q", name, values, value)
		}
	}
	r.mu.Lock()
	respond := r.respond
	r.mu.Unlock()
	r.got <- message{req.Header, string(body)}
	respond(w, req)
}

// one returns the only message since the last call.
func (r *receiver) one() message {
	r.t.Helper()
	if n := len(r.got); n != 1 {
		r.t.Fatalf("the receiver got %d messages, want 1", n)
	}
	return <-r.got
}

// none verifies that there was no message since the last call.
func (r *receiver) none() {
	r.t.Helper()
	if n := len(r.got); n != 0 {
		r.t.Fatalf("the receiver got %d messages, want none", n)
	}
}

// verify verifies the message with the reference library. The test's clock is not the library's.
func (m message) verify(s job.Secret) error {
	w, err := standardwebhooks.NewWebhook(s.Reveal())
	if err != nil {
		return err
	}
	return w.VerifyIgnoringTimestamp([]byte(m.body), m.header)
}

func (m message) id() string { return m.header.Get("webhook-id") }

func (m message) at() time.Time {
	seconds, _ := strconv.ParseInt(m.header.Get("webhook-timestamp"), 10, 64)
	return time.Unix(seconds, 0).UTC()
}

func wantDelivery(t testing.TB, d job.Delivery, attempts, status int, text string, ended, delivered bool) {
	t.Helper()
	got := fmt.Sprintf("%d attempts, status %d, error %q, ended: %t, delivered: %t", d.Attempts, d.LastStatus, d.LastError, !d.EndedAt.IsZero(), d.Delivered)
	if want := fmt.Sprintf("%d attempts, status %d, error %q, ended: %t, delivered: %t", attempts, status, text, ended, delivered); got != want {
		t.Errorf("the delivery has\n     %s,\nwant %s", got, want)
	}
}
