// Package tracingtest is a collector that takes traces over the wire, as one of
// OpenTelemetry does, and shows them to a test.
package tracingtest

import (
	"compress/gzip"
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
)

// Span is a span as it arrived.
type Span struct {
	Name, Service, Kind string
	TraceID, SpanID     string
	Parent              string // span id; empty: a root
	Start, End          time.Time
	Attributes          map[string]string
	Resource            map[string]string
	Failed              bool
	Message             string // of the status
	Links               []Link
	Events              []string
}

// Link is what a span is linked to.
type Link struct{ TraceID, SpanID string }

// Collector takes spans at URL.
type Collector struct {
	URL string

	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex // guards what follows
	spans    []Span
	headers  []http.Header
	requests int
	answer   http.HandlerFunc
	news     chan struct{} // closed at the next request
}

// Start starts a collector, which ends with the test.
func Start(t *testing.T) *Collector { return start(t, httptest.NewServer) }

// StartTLS starts one that speaks TLS.
func StartTLS(t *testing.T) *Collector { return start(t, httptest.NewTLSServer) }

func start(t *testing.T, serve func(http.Handler) *httptest.Server) *Collector {
	c := &Collector{t: t, news: make(chan struct{})}
	c.server = serve(http.HandlerFunc(c.take))
	c.URL = c.server.URL
	t.Cleanup(c.server.Close)
	return c
}

// Server is the server behind it.
func (c *Collector) Server() *httptest.Server { return c.server }

// Answer has the collector answer with h, and take nothing, until it is called with
// nil.
func (c *Collector) Answer(h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = h
}

// Requests is how many it was sent so far.
func (c *Collector) Requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests
}

// Header is the header of the last request that was taken.
func (c *Collector) Header() http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.headers) == 0 {
		return nil
	}
	return c.headers[len(c.headers)-1]
}

func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	answer := c.answer
	c.requests++
	c.mu.Unlock()
	defer c.tell()
	if answer != nil {
		answer(w, r)
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("the collector is asked %s %s with a body of %s", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(r.Body); err != nil {
			c.t.Errorf("the collector is sent what is no gzip: %v", err)
			return
		}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest) // the client has gone
		return
	}
	// On the wire this is what an ExportTraceServiceRequest is.
	var request tracepb.TracesData
	if err := proto.Unmarshal(data, &request); err != nil {
		c.t.Errorf("the collector is sent what is no traces: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = append(c.headers, r.Header)
	for _, of := range request.GetResourceSpans() {
		resource := values(of.GetResource().GetAttributes())
		for _, scope := range of.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				c.spans = append(c.spans, read(s, resource))
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// tell wakes those that wait.
func (c *Collector) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.news)
	c.news = make(chan struct{})
}

func read(s *tracepb.Span, resource map[string]string) Span {
	is := Span{
		Name: s.GetName(), Service: resource["service.name"], Resource: resource,
		Kind:    strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_")),
		TraceID: hex.EncodeToString(s.GetTraceId()), SpanID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Start: nanos(s.GetStartTimeUnixNano()), End: nanos(s.GetEndTimeUnixNano()),
		Attributes: values(s.GetAttributes()),
		Failed:     s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR, Message: s.GetStatus().GetMessage(),
	}
	for _, l := range s.GetLinks() {
		is.Links = append(is.Links, Link{hex.EncodeToString(l.GetTraceId()), hex.EncodeToString(l.GetSpanId())})
	}
	for _, e := range s.GetEvents() {
		is.Events = append(is.Events, e.GetName())
	}
	return is
}

func nanos(n uint64) time.Time { return time.Unix(0, int64(n)) } //nolint:gosec // Times of this century.

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
		default:
			all[a.GetKey()] = a.GetValue().String()
		}
	}
	return all
}

// Spans are those that have arrived, in the order of their starts.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.spans)
	slices.SortStableFunc(all, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return all
}

// Await returns when what has arrived is enough, and fails the test after a minute.
// It asks again after each request.
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
			c.t.Fatalf("the collector waits for %s; it has %d spans:\n%s", what, len(spans), List(spans))
		}
	}
}

// Named are the spans of a name.
func Named(spans []Span, name string) (found []Span) {
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

// List writes spans for a person, a line each.
func List(spans []Span) string {
	var b strings.Builder
	for _, s := range spans {
		fmt.Fprintf(&b, "%s %s <- %-16s %-10s %-28s %8.3f ms failed=%t %v\n", s.TraceID, s.SpanID, s.Parent, s.Service, s.Name,
			float64(s.End.Sub(s.Start).Microseconds())/1000, s.Failed, s.Attributes)
	}
	return b.String()
}
