// Package tracing tells an OpenTelemetry collector where the time of an image
// went. It is the only importer of the OpenTelemetry SDK
// (go.opentelemetry.io/otel, Apache-2.0, chosen because it is what collectors are
// tested against) and of the messages of its protocol
// (go.opentelemetry.io/proto/otlp, Apache-2.0). The SDK's own exporter over HTTP
// is not among them: it brings gRPC along, 5 MB in each program, and reads the
// environment by itself.
//
// # One trace for each image
//
// The id of the trace is the image's trace_id. Its root is a span named image,
// from the request that brought the image to the image's end; its id follows from
// the trace id (see [pipeline.RootSpan]), so that each process, and one that was
// started anew, knows the parent of its spans without having been told. The root is
// sent once, by the gateway whose write ended the image. What became of the image
// in between are its descendants, wherever they were recorded: the parent goes
// along in the header traceparent of each message. A request has a trace of its
// own, or its client's; the root and the intake of each image are linked to it.
//
// # What it promises
//
// A nil *Tracer is one that is switched off. It costs no allocation, starts no
// goroutine and opens no connection.
//
// Spans wait in a bounded queue. What does not fit is dropped and counted, and so
// is what the collector does not take within [holdTime]: a collector that is away,
// slow or broken delays no image, fails none, and holds up the end of the process
// for [flushTime] at most.
//
// It refuses to record what is somebody's secret or a stranger's word: no URL but
// for the host that an image is fetched from, no header, no file name, no object
// key, no text of an error but those that the client is told.
package tracing

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/imagebatch/imagebatch/shared/metrics"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// scope names what records the spans.
const scope = "github.com/imagebatch/imagebatch"

// maxValueBytes bounds each value of an attribute.
const maxValueBytes = 256

// Process is what a Tracer needs to know of the process that it is in.
type Process struct {
	Name    string // of the service, unless the configuration has another
	Version string
	Roots   *x509.CertPool // that an https collector is believed by; nil: the system's
	Log     *slog.Logger
	Metrics *metrics.Registry
}

// Tracer makes the spans of one process. All methods may be called from many
// goroutines, and on a nil Tracer, which is switched off.
type Tracer struct {
	tracer  trace.Tracer
	sampler sdktrace.Sampler
	queue   *queue
}

// Open makes a Tracer, or returns nil when the configuration names no collector.
// The configuration is one that Validate finds nothing wrong with; the end of ctx is
// not the Tracer's.
func Open(ctx context.Context, c Config, p Process) (*Tracer, error) {
	spans := p.Metrics.Counter("spans_total", "Spans of traces that were recorded, by outcome: exported, dropped when there were too many, or lost when the collector did not take them.", "outcome")
	if c.Endpoint == "" {
		return nil, nil //nolint:nilnil // A nil Tracer is one that is switched off.
	}
	parsed, err := c.parse()
	if err != nil {
		return nil, err
	}
	attributes := []attribute.KeyValue{
		attribute.String("service.name", p.Name), attribute.String("service.version", p.Version),
	}
	for _, a := range parsed.resource { // later ones win
		attributes = append(attributes, attribute.String(a[0], a[1]))
	}
	t := &Tracer{
		sampler: parsed.sampler,
		queue:   newQueue(ctx, newCollector(parsed, p), p.Log, spans),
	}
	t.tracer = sdktrace.NewTracerProvider(
		sdktrace.WithResource(resource.NewSchemaless(attributes...)),
		sdktrace.WithSampler(t.sampler),
		sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithSpanProcessor(t.queue),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: maxValueBytes, AttributeValueDepthLimit: 1, AttributeCountLimit: 32,
			EventCountLimit: 16, LinkCountLimit: 4, AttributePerEventCountLimit: 8, AttributePerLinkCountLimit: 8,
		}),
	).Tracer(scope, trace.WithInstrumentationVersion(p.Version))
	return t, nil
}

// Close sends what waits, for flushTime at most, and ends the Tracer. Spans that
// end later are dropped.
func (t *Tracer) Close() error {
	if t != nil {
		t.queue.close()
	}
	return nil
}

// ids makes the ids of spans and traces at random, those of root spans of images
// excepted.
type ids struct{}

var _ sdktrace.IDGenerator = ids{}

// rootOf is the key of the image whose root span a context is to get.
type rootOf struct{}

// NewIDs implements sdktrace.IDGenerator.
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if image, ok := ctx.Value(rootOf{}).(pipeline.TraceID); ok {
		root := rootContext(image, 0)
		return root.TraceID(), root.SpanID()
	}
	var id trace.TraceID
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64()) //nolint:gosec // An id is no secret.
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64()) //nolint:gosec // An id is no secret.
	}
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(context.Context, trace.TraceID) trace.SpanID {
	var id trace.SpanID
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:], rand.Uint64()) //nolint:gosec // An id is no secret.
	}
	return id
}

// traceID is the id of an image's trace. It is not valid when the image's is not.
func traceID(image pipeline.TraceID) (id trace.TraceID) {
	if image.Valid() {
		_, _ = hex.Decode(id[:], []byte(image))
	}
	return id
}

// rootContext is the root span of an image as its children see it: from afar.
func rootContext(image pipeline.TraceID, flags trace.TraceFlags) trace.SpanContext {
	c := trace.SpanContextConfig{TraceID: traceID(image), TraceFlags: flags, Remote: true}
	if c.TraceID.IsValid() {
		_, _ = hex.Decode(c.SpanID[:], []byte(pipeline.RootSpan(image)))
	}
	return trace.NewSpanContext(c)
}
