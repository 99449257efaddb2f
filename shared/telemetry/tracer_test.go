package telemetry_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const jobID = "550e8400-e29b-41d4-a716-446655440000"

var image = pipeline.NewTraceID(jobID, 3)

// rig is a tracer and its collector.
type rig struct {
	*telemetry.Tracer
	collector *telemetrytest.Collector
	metrics   *telemetry.Registry
	log       strings.Builder // read it after close
	closed    bool
	t         *testing.T
}

func open(t *testing.T, change ...func(*telemetry.Config)) *rig {
	t.Helper()
	r := &rig{collector: telemetrytest.Start(t), metrics: telemetry.NewRegistry(), t: t}
	c := telemetry.Config{Endpoint: service.SecretURL(r.collector.URL)}
	for _, f := range change {
		f(&c)
	}
	var err error
	r.Tracer, err = telemetry.Open(t.Context(), c, telemetry.Process{
		Name: "gateway", Version: "v1.2.3", Log: slog.New(slog.NewTextHandler(&r.log, nil)), Metrics: r.metrics,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.close() })
	return r
}

// close ends the tracer and returns all received spans.
func (r *rig) close() []telemetrytest.Span {
	r.t.Helper()
	if !r.closed {
		r.closed = true
		if err := r.Close(); err != nil {
			r.t.Error(err)
		}
	}
	return r.collector.Spans()
}

func one(t *testing.T, spans []telemetrytest.Span, name string) telemetrytest.Span {
	t.Helper()
	found := telemetrytest.Named(spans, name)
	if len(found) != 1 {
		t.Fatalf("%d spans are named %s, want 1:\n%s", len(found), name, telemetrytest.List(spans))
	}
	return found[0]
}

// TestTraceOfAnImage verifies that a trace has the image's ID, that its root has no
// parent and the ID that all spans expect, and that the root and the intake are linked
// to the request.
func TestTraceOfAnImage(t *testing.T) {
	r := open(t, func(c *telemetry.Config) {
		c.Headers, c.ResourceAttributes = "x-key=a%20b, x-other=c", "deployment.environment.name=test,service.name=loses"
		c.ServiceName = "wins"
	})
	ctx, request := r.Request(t.Context(), "POST", "/api/v1/batch", nil)
	inside, intake := r.Image(ctx, image, "intake")
	intake.Image(jobID, 3)
	_, put := r.Part(inside, "PUT originals")
	put.End()
	intake.End()
	created := time.Now()
	origin := r.Origin(ctx)
	request.Responded(201)
	request.End()
	_, late := r.Image(r.From(t.Context(), origin), image, "later") // as after a restart
	late.Fail("damaged_image", "Damaged image")
	late.End()
	_, continued := r.Continued(t.Context(), origin, "webhook")
	continued.End()
	if _, span := r.Continued(t.Context(), "", "webhook"); span != nil {
		t.Error("without a request, the continued work is recorded")
	}
	ended := created.Add(time.Second)
	r.Ended(t.Context(), telemetry.ImageEnd{
		Image: image, JobID: jobID, Index: 3, Source: "inline", Bytes: 7, Code: "damaged_image", Text: "Damaged image",
		Origin: origin, Created: created, Ended: ended,
	})
	spans := r.close()

	root := one(t, spans, "image")
	if root.TraceID != string(image) || root.SpanID != pipeline.RootSpan(image) || root.Parent != "" {
		t.Errorf("root %+v", root)
	}
	asked := one(t, spans, "POST /api/v1/batch")
	if asked.TraceID == root.TraceID || asked.Parent != "" || asked.Kind != "server" || asked.Failed ||
		asked.Attributes["http.request.method"] != "POST" || asked.Attributes["http.route"] != "/api/v1/batch" || asked.Attributes["http.response.status_code"] != "201" {
		t.Errorf("request %+v", asked)
	}
	if d := root.Start.Sub(asked.Start); d < -time.Microsecond || d > time.Microsecond || !root.End.Equal(ended.Round(0)) {
		t.Errorf("the root is from %v to %v, the request from %v", root.Start, root.End, asked.Start)
	}
	if !root.Failed || root.Message != "Damaged image" || root.Attributes["error_code"] != "damaged_image" || root.Attributes["job_id"] != jobID ||
		root.Attributes["index"] != "3" || root.Attributes["status"] != "failed" || root.Attributes["source"] != "inline" || root.Attributes["bytes"] != "7" {
		t.Errorf("root %+v", root)
	}
	for _, name := range []string{"intake", "later"} {
		s := one(t, spans, name)
		if s.TraceID != root.TraceID || s.Parent != root.SpanID {
			t.Errorf("%s %+v", name, s)
		}
	}
	for _, s := range []telemetrytest.Span{root, one(t, spans, "intake"), one(t, spans, "later")} {
		if len(s.Links) != 1 || s.Links[0] != (telemetrytest.Link{TraceID: asked.TraceID, SpanID: asked.SpanID}) {
			t.Errorf("%s is linked to %v, want the request %s %s", s.Name, s.Links, asked.TraceID, asked.SpanID)
		}
	}
	if s := one(t, spans, "webhook"); s.TraceID != asked.TraceID || s.Parent != asked.SpanID || s.Kind != "client" {
		t.Errorf("webhook %+v, want a part of the request %+v", s, asked)
	}
	if s := one(t, spans, "PUT originals"); s.Parent != one(t, spans, "intake").SpanID || s.Kind != "client" || len(s.Links) != 0 {
		t.Errorf("PUT %+v", s)
	}
	if root.Service != "wins" || root.Resource["deployment.environment.name"] != "test" || root.Resource["service.version"] != "v1.2.3" {
		t.Errorf("resource %v", root.Resource)
	}
	if h := r.collector.Header(); h.Get("X-Key") != "a b" || h.Get("X-Other") != "c" {
		t.Errorf("headers %v", h)
	}
	telemetrytest.Expect(t, r.metrics, `spans_total{outcome="exported"} 6`, `spans_total{outcome="dropped"} 0`, `spans_total{outcome="lost"} 0`)
}

// TestRootSpanWithClockSetBack verifies that no span ends before it starts.
func TestRootSpanWithClockSetBack(t *testing.T) {
	r := open(t)
	now := time.Now()
	r.Ended(t.Context(), telemetry.ImageEnd{Image: image, JobID: jobID, Created: now, Ended: now.Add(-time.Hour)})
	if s := one(t, r.close(), "image"); !s.End.Equal(s.Start) || s.Failed || s.Attributes["status"] != "completed" {
		t.Errorf("root %+v", s)
	}
}

// TestNilTracer verifies that a nil Tracer allocates nothing.
func TestNilTracer(t *testing.T) {
	m := telemetry.NewRegistry()
	tracer, err := telemetry.Open(t.Context(), telemetry.Config{Headers: "unread"}, telemetry.Process{Name: "gateway", Log: slog.New(slog.DiscardHandler), Metrics: m})
	if tracer != nil || err != nil {
		t.Fatalf("%v, %v", tracer, err)
	}
	ctx, header := t.Context(), []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	log := slog.New(slog.DiscardHandler)
	if n := testing.AllocsPerRun(100, func() {
		ctx, span := tracer.Request(ctx, "GET", "/", header)
		ctx, image := tracer.Consumed(tracer.From(tracer.Within(ctx, image), ""), image, "analysis")
		_, part := tracer.Part(ctx, "PUT processed")
		_, continued := tracer.Continued(ctx, "1", "webhook")
		continued.End()
		image.Image(jobID, 1)
		image.SetString("a", "b")
		image.SetInt("a", 1)
		image.Event("waits")
		image.Fail("code", "text")
		tracer.Ended(t.Context(), telemetry.ImageEnd{JobID: jobID, Origin: tracer.Origin(ctx)})
		part.End()
		image.End()
		span.Responded(500)
		span.End()
		if tracer.Log(log) != log || tracer.Close() != nil {
			t.Error("a nil Tracer does something")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestSampling verifies that every process records the same images, each as a whole.
func TestSampling(t *testing.T) {
	recorded := func(c telemetry.Config) map[string]int {
		r := open(t, func(to *telemetry.Config) { to.Sampler, to.SamplerArg = c.Sampler, c.SamplerArg })
		for i := range 200 {
			id := pipeline.NewTraceID(jobID, i)
			ctx, span := r.Image(t.Context(), id, "intake")
			_, part := r.Part(ctx, "PUT originals")
			part.End()
			span.End()
			r.Ended(t.Context(), telemetry.ImageEnd{Image: id, JobID: jobID, Index: i, Created: time.Now(), Ended: time.Now()})
		}
		of := map[string]int{}
		for _, s := range r.close() {
			of[s.TraceID]++
		}
		return of
	}
	whole := func(name string, of map[string]int, least, most int) {
		t.Helper()
		if len(of) < least || len(of) > most {
			t.Errorf("%s: %d images are recorded, want %d to %d", name, len(of), least, most)
		}
		for id, n := range of {
			if n != 3 {
				t.Errorf("%s: %d spans of %s, want 3", name, n, id)
			}
		}
	}
	ratio := recorded(telemetry.Config{Sampler: "parentbased_traceidratio", SamplerArg: "0.25"})
	whole("a quarter", ratio, 25, 75)
	again := recorded(telemetry.Config{Sampler: "traceidratio", SamplerArg: "0.25"})
	whole("a quarter again", again, 25, 75)
	for id := range ratio {
		if again[id] == 0 {
			t.Errorf("%s is recorded by one of two", id)
		}
	}
	whole("all", recorded(telemetry.Config{}), 200, 200)
	whole("none", recorded(telemetry.Config{Sampler: "parentbased_always_off"}), 0, 0)
}

// TestTraceparentOfClients verifies which values of a client's traceparent are used and which
// are ignored.
func TestTraceparentOfClients(t *testing.T) {
	const trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	r := open(t)
	for _, header := range [][]string{
		nil,
		{""},
		{"00-" + trace + "-" + span + "-01", "00-" + trace + "-" + span + "-01"}, // two are none
		{"00-00000000000000000000000000000000-" + span + "-01"},
		{"00-" + trace + "-0000000000000000-01"},
		{"ff-" + trace + "-" + span + "-01"},
		{"00-" + strings.ToUpper(trace) + "-" + span + "-01"},
		{"00-" + trace + "-" + span},
		{"00-" + trace + "-" + span + "-01-more"},
		{"00-" + trace + "-" + span + "-zz"},
		{"01-" + trace + "-" + span + "-01x"},
		{"0x-" + trace + "-" + span + "-01"},
		{"' OR 1=1 --"},
		{strings.Repeat("0", 60_000)},
		{"00-\x00" + trace[1:] + "-" + span + "-01"},
	} {
		_, s := r.Request(t.Context(), "GET", "/none", header)
		s.End()
	}
	for _, header := range []string{"00-" + trace + "-" + span + "-01", "cc-" + trace + "-" + span + "-03-of-a-later-version"} {
		_, s := r.Request(t.Context(), "GET", "/one", []string{header})
		s.End()
	}
	_, s := r.Request(t.Context(), "GET", "/unrecorded", []string{"00-" + trace + "-" + span + "-00"})
	s.End()
	spans := r.close()
	if none := telemetrytest.Named(spans, "GET /none"); len(none) != 15 {
		t.Errorf("%d requests", len(none))
	} else {
		for i, s := range none {
			if s.Parent != "" || s.TraceID == trace {
				t.Errorf("header %d is taken for a trace: %+v", i, s)
			}
		}
	}
	for _, s := range telemetrytest.Named(spans, "GET /one") {
		if s.TraceID != trace || s.Parent != span {
			t.Errorf("request %+v", s)
		}
	}
	if len(spans) != 17 {
		t.Errorf("%d spans:\n%s", len(spans), telemetrytest.List(spans))
	}
}

// TestInvalidConfig verifies that one run reports every mistake, and no secret.
func TestInvalidConfig(t *testing.T) {
	c := telemetry.Config{
		Endpoint: "collector:4318", Headers: "hunter2", ResourceAttributes: "a=%zz", Sampler: "parentbased_traceidratio", SamplerArg: "2",
	}
	err := c.Validate()
	for _, want := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT: want", "OTEL_EXPORTER_OTLP_HEADERS: want", "OTEL_RESOURCE_ATTRIBUTES: want", `OTEL_TRACES_SAMPLER_ARG "2": want`,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not mention %s", err, want)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error contains a secret: %v", err)
	}
	for _, c := range []telemetry.Config{
		{Endpoint: "ftp://host"},
		{Endpoint: "http://"},
		{Endpoint: "http://host:4318?a=b"},
		{Endpoint: "http://host:x"},
		{Endpoint: "http://:4318"},
		{Endpoint: "http://host", Sampler: "jaeger_remote"},
		{Endpoint: "http://host", Headers: "a b=c"},
		{Endpoint: "http://host", Headers: "a=b%0d%0ac: d"},
		{Endpoint: "http://host", Sampler: "traceidratio", SamplerArg: "NaN"},
	} {
		if c.Validate() == nil {
			t.Errorf("%+v passes", c)
		}
	}
	for _, c := range []telemetry.Config{
		{}, {Sampler: "nonsense"}, {Endpoint: "https://user:password@host/path/"}, {Endpoint: "http://[::1]:4318", Sampler: "always_on", SamplerArg: "unread", Headers: "a=b,,c=d=e"},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestLog verifies which IDs a line has.
func TestLog(t *testing.T) {
	var out strings.Builder
	r := open(t)
	log := r.Log(slog.New(slog.NewJSONHandler(&out, nil))).With("with", 1)
	ctx, span := r.Image(t.Context(), image, "intake")
	log.InfoContext(t.Context(), "without a span")
	log.InfoContext(r.Within(t.Context(), image), "before a span")
	log.InfoContext(ctx, "in a span")
	log.InfoContext(ctx, "with an id of its own", "trace_id", "own")
	span.End()
	id := one(t, r.close(), "intake").SpanID
	for i, want := range []struct{ trace, span string }{{}, {}, {string(image), id}, {"own", id}} {
		var line struct {
			Msg     string
			TraceID string `json:"trace_id"`
			SpanID  string `json:"span_id"`
			With    int
		}
		text := strings.Split(out.String(), "\n")[i]
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.TraceID != want.trace || line.SpanID != want.span || line.With != 1 || strings.Count(text, "trace_id") > 1 {
			t.Errorf("%s, want %v: %v", text, want, err)
		}
	}
}

// TestNoSecretsInSpans verifies that a span does not contain the text of an error.
func TestNoSecretsInSpans(t *testing.T) {
	r := open(t)
	s := telemetry.Store(failing{}, "originals", r.metrics, r.Tracer)
	ctx, span := r.Image(t.Context(), image, "intake")
	if err := s.Put(ctx, "id/My secret.jpg", objectstore.Content{Data: nil, Type: "image/jpeg"}); !errors.Is(err, errSecret) {
		t.Error(err)
	}
	span.SetString("long", strings.Repeat("é", 10_000))
	span.End()
	spans := r.close()
	if put := one(t, spans, "PUT originals"); !put.Failed || put.Attributes["error_code"] != "error" || strings.Contains(telemetrytest.List(spans), "ecret") {
		t.Errorf("PUT %+v", put)
	}
	if n := len(one(t, spans, "intake").Attributes["long"]); n > 512 {
		t.Errorf("an attribute of %d bytes", n)
	}
}
