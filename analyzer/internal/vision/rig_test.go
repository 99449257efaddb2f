package vision

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/analyzer/visiontest"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "sk-a-secret-key"

// rig is a client of a stand-in, with a clock that only moves by hand.
type rig struct {
	*Client
	t        *testing.T
	server   *visiontest.Server
	registry *telemetry.Registry
	picture  []byte
	log      *buffer

	mu  sync.Mutex // guards now
	now time.Time
}

// buffer is a bytes.Buffer for concurrent use.
type buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func setup(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, server: visiontest.Start(t, key), registry: telemetry.NewRegistry(), log: &buffer{}, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	var err error
	if r.picture, err = encode(builtIn()); err != nil {
		t.Fatal(err)
	}
	c := Config{
		URL: service.SecretURL(r.server.URL), APIKey: key, Models: []string{"a"}, Language: "en",
		Pixels: 768, Keywords: 12, Concurrency: 4, Timeout: time.Minute, MaxTokens: 1000,
	}
	for _, f := range change {
		f(&c)
	}
	r.Client, err = New(c, Deps{Log: slog.New(slog.NewTextHandler(r.log, nil)), Metrics: r.registry, Now: r.clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
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

// caption asks about the image and returns an answer.
func (r *rig) caption() Answer {
	r.t.Helper()
	a, err := r.Caption(r.t.Context(), r.picture, Tried{})
	if err != nil {
		r.t.Fatalf("error %v, want an answer", err)
	}
	return a
}

// unavailable asks about the image and returns the error that asks to try later.
func (r *rig) unavailable() *Unavailable {
	r.t.Helper()
	a, err := r.Caption(r.t.Context(), r.picture, Tried{})
	u, ok := err.(*Unavailable) //nolint:errorlint // It is the documented type.
	if !ok {
		r.t.Fatalf("answer %+v, error %v, want an Unavailable", a, err)
	}
	return u
}

// uncaptioned asks about the image and verifies that it continues without a caption.
func (r *rig) uncaptioned(reason string) {
	r.t.Helper()
	a, err := r.Caption(r.t.Context(), r.picture, Tried{})
	u, ok := err.(*Uncaptioned) //nolint:errorlint // It is the documented type.
	if !ok || u.Reason != reason {
		r.t.Fatalf("answer %+v, error %v, want an Uncaptioned because of %s", a, err, reason)
	}
}

// models returns the models of the requests so far.
func (r *rig) models() string {
	var list []string
	for _, q := range r.server.Requests() {
		list = append(list, q.Model)
	}
	return strings.Join(list, " ")
}

// sent verifies the number of requests so far.
func (r *rig) sent(want int) {
	r.t.Helper()
	if got := len(r.server.Requests()); got != want {
		r.t.Fatalf("%d requests, want %d", got, want)
	}
}

// metric verifies lines of a scrape, without the prefix imagebatch_.
func (r *rig) metric(want ...string) {
	r.t.Helper()
	w := httptest.NewRecorder()
	r.registry.Handler().ServeHTTP(w, httptest.NewRequestWithContext(r.t.Context(), http.MethodGet, "/metrics", nil))
	text, _ := io.ReadAll(w.Body)
	for _, line := range want {
		if !strings.Contains(string(text), "\nimagebatch_"+line+"\n") {
			r.t.Errorf("no metric %s in the scrape", line)
		}
	}
}

// noSecrets verifies that the log contains neither the key nor an answer.
func (r *rig) noSecrets() {
	r.t.Helper()
	text := r.log.String() + strings.Join(r.Faults(), "\n")
	for _, secret := range []string{key, visiontest.Title, visiontest.Description, visiontest.AltText} {
		if strings.Contains(text, secret) {
			r.t.Errorf("the log or the faults contain %q:\n%s", secret, text)
		}
	}
}

func withModels(names ...string) func(*Config) { return func(c *Config) { c.Models = names } }

func encoded(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// probeOnce runs the probe of each model once.
func (r *rig) probeOnce(ctx context.Context) {
	for _, m := range r.Client.models {
		if m.needsProbe() {
			r.probe(ctx, m, r.picture)
		}
	}
}
