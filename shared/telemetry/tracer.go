package telemetry

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Process describes the process of a Tracer.
type Process struct {
	Name    string // default for OTEL_SERVICE_NAME
	Version string
	Roots   *x509.CertPool // authorities for an https collector; nil: the system's
	Log     *slog.Logger
	Metrics *Registry
}

// Tracer creates the spans of one process. All methods are safe for concurrent use,
// and on a nil Tracer, which is switched off.
type Tracer struct {
	tracer  trace.Tracer
	sampler sdktrace.Sampler
	queue   *queue
}

// Open returns a Tracer, or nil if the configuration names no collector. The Tracer
// outlives ctx; the caller ends it with Close.
func Open(ctx context.Context, c Config, p Process) (*Tracer, error) {
	spans := p.Metrics.Counter("spans_total", "Recorded spans, by outcome: exported, dropped because the queue was full, or lost because the collector did not accept them.", "outcome")
	if c.Endpoint == "" {
		return nil, nil //nolint:nilnil // A nil Tracer is switched off.
	}
	parsed, err := c.parse()
	if err != nil {
		return nil, err
	}
	attributes := []attribute.KeyValue{attribute.String("service.name", p.Name), attribute.String("service.version", p.Version)}
	for _, a := range parsed.resource { // later values win
		attributes = append(attributes, attribute.String(a[0], a[1]))
	}
	q, err := newQueue(ctx, parsed, p, spans)
	if err != nil {
		return nil, err
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(resource.NewSchemaless(attributes...)),
		sdktrace.WithSampler(parsed.sampler),
		sdktrace.WithIDGenerator(ids{}),
		sdktrace.WithSpanProcessor(q),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: 256, AttributeValueDepthLimit: 1, AttributeCountLimit: 32,
			EventCountLimit: 16, LinkCountLimit: 4, AttributePerEventCountLimit: 8, AttributePerLinkCountLimit: 8,
		}),
	)
	tracer := provider.Tracer("github.com/imagebatch/imagebatch", trace.WithInstrumentationVersion(p.Version))
	return &Tracer{tracer: tracer, sampler: parsed.sampler, queue: q}, nil
}

// Close sends the waiting spans, for at most flushTimeout, and ends the Tracer. Spans
// that end later are dropped.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	return t.queue.close()
}

// ids generates random IDs, except for the root span of an image.
type ids struct{}

var _ sdktrace.IDGenerator = ids{}

// rootOf is the context key for the image whose root span is being started.
type rootOf struct{}

// NewIDs implements sdktrace.IDGenerator.
func (g ids) NewIDs(ctx context.Context) (id trace.TraceID, _ trace.SpanID) {
	if image, ok := ctx.Value(rootOf{}).(pipeline.TraceID); ok {
		root := rootContext(image)
		return root.TraceID(), root.SpanID()
	}
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64()|1) // never all zeros
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID implements sdktrace.IDGenerator.
func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	binary.NativeEndian.PutUint64(id[:], rand.Uint64()|1) // never all zeros
	return id
}
