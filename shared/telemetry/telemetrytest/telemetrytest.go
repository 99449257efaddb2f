// Package telemetrytest reads metrics as Prometheus does, and receives traces as an
// OpenTelemetry collector does.
package telemetrytest

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Scrape returns the metrics of m in Prometheus's text format.
func Scrape(t testing.TB, m *telemetry.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("the scrape returns status %d", w.Code)
	}
	return w.Body.String()
}

// Expect verifies that a scrape of m contains the lines, each without the prefix imagebatch_. If one is
// missing, it logs the metrics.
func Expect(t testing.TB, m *telemetry.Registry, lines ...string) {
	t.Helper()
	text := Scrape(t, m)
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\nimagebatch_"+line+"\n") {
			t.Errorf("the scrape has no line %q", line)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "imagebatch_") && !strings.Contains(line, "_bucket") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}

// Span is a received span.
type Span struct {
	Name, Service, Kind string
	TraceID, SpanID     string
	Parent              string // span ID; empty for a root
	Start, End          time.Time
	Attributes          map[string]string
	Resource            map[string]string
	Failed              bool
	Message             string // status message
	Links               []Link
}

// Link is a link from one span to another.
type Link struct{ TraceID, SpanID string }

// Collector receives spans.
type Collector struct {
	*httptest.Server
	t *testing.T

	mu     sync.Mutex // guards the fields below
	spans  []Span
	header http.Header
	answer http.HandlerFunc
	news   chan struct{} // closed after the next request
}

// Start starts a collector that ends with the test.
func Start(t *testing.T) *Collector { return start(t, httptest.NewServer) }

// StartTLS starts a collector that uses TLS.
func StartTLS(t *testing.T) *Collector { return start(t, httptest.NewTLSServer) }

func start(t *testing.T, serve func(http.Handler) *httptest.Server) *Collector {
	c := &Collector{t: t, news: make(chan struct{})}
	c.Server = serve(http.HandlerFunc(c.serve))
	t.Cleanup(c.Close)
	return c
}

// RespondWith makes the collector respond with h and discard the spans. Nil ends that.
func (c *Collector) RespondWith(h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = h
}

// Header returns the header of the last request with spans.
func (c *Collector) Header() http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.header
}

func (c *Collector) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	answer := c.answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		close(c.news)
		c.news = make(chan struct{})
	}()
	if answer != nil {
		answer(w, r)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("the collector got %s %s with a body of %s", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest) // the client has disconnected
		return
	}
	var request tracepb.TracesData // has the wire format of an ExportTraceServiceRequest, whose package needs gRPC
	if err := proto.Unmarshal(data, &request); err != nil {
		c.t.Errorf("the collector got invalid traces: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.header = r.Header
	for _, of := range request.GetResourceSpans() {
		resource := values(of.GetResource().GetAttributes())
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, read(s, resource))
			}
		}
	}
}

func read(s *tracepb.Span, resource map[string]string) Span {
	is := Span{
		Name: s.GetName(), Service: resource["service.name"], Resource: resource,
		Kind:    strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_")),
		TraceID: hex.EncodeToString(s.GetTraceId()), SpanID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Start: time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano())),
		Attributes: values(s.GetAttributes()),
		Failed:     s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR, Message: s.GetStatus().GetMessage(),
	}
	for _, l := range s.GetLinks() {
		is.Links = append(is.Links, Link{hex.EncodeToString(l.GetTraceId()), hex.EncodeToString(l.GetSpanId())})
	}
	return is
}

func values(attributes []*commonpb.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range attributes {
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			all[a.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			all[a.GetKey()] = fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_BoolValue:
			all[a.GetKey()] = fmt.Sprint(v.BoolValue)
		}
	}
	return all
}

// Spans returns the received spans, ordered by their start.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.spans)
	slices.SortStableFunc(all, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return all
}

// Await waits until enough returns true for the received spans, and returns them. It fails the test after a
// minute.
func (c *Collector) Await(what string, enough func([]Span) bool) []Span {
	c.t.Helper()
	late := time.After(time.Minute)
	for {
		c.mu.Lock()
		news := c.news
		c.mu.Unlock()
		spans := c.Spans()
		if enough(spans) {
			return spans
		}
		select {
		case <-news:
		case <-late:
			c.t.Fatalf("timed out waiting for %s; got %d spans:\n%s", what, len(spans), List(spans))
		}
	}
}

// Named returns the spans with a name.
func Named(spans []Span, name string) (found []Span) {
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// List formats spans, one per line.
func List(spans []Span) string {
	var b strings.Builder
	for _, s := range spans {
		fmt.Fprintf(&b, "%s %s <- %-16s %-10s %-28s %8.3f ms failed=%t %v\n", s.TraceID, s.SpanID, s.Parent, s.Service, s.Name,
			float64(s.End.Sub(s.Start).Microseconds())/1000, s.Failed, s.Attributes)
	}
	return b.String()
}
