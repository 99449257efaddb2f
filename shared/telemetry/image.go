package telemetry

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Image starts work on an image. If the context is already in the image's trace, the work is a part of the
// context's span. Otherwise it is a child of the image's root span and, if the context contains the request
// that submitted the image, linked to that request.
func (t *Tracer) Image(ctx context.Context, image pipeline.TraceID, name string) (context.Context, *Span) {
	return t.image(ctx, image, name, trace.SpanKindInternal)
}

// Consumed is Image for work that was requested by a message.
func (t *Tracer) Consumed(ctx context.Context, image pipeline.TraceID, name string) (context.Context, *Span) {
	return t.image(ctx, image, name, trace.SpanKindConsumer)
}

func (t *Tracer) image(ctx context.Context, image pipeline.TraceID, name string, kind trace.SpanKind) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	options := []trace.SpanStartOption{trace.WithSpanKind(kind)}
	if trace.SpanContextFromContext(ctx).TraceID().String() != string(image) {
		ctx = t.Within(ctx, image)
		options = linkTo(requestOf(ctx), options)
	}
	return t.start(ctx, name, options...)
}

// linkTo adds a link to the request if the request is recorded.
func linkTo(r request, options []trace.SpanStartOption) []trace.SpanStartOption {
	if r.span.IsSampled() {
		return append(options, trace.WithLinks(trace.Link{SpanContext: r.span}))
	}
	return options
}

// Within returns ctx in the trace of an image, below its root span. Whether the trace is recorded depends only
// on its ID, so all processes make the same decision.
func (t *Tracer) Within(ctx context.Context, image pipeline.TraceID) context.Context {
	if t == nil {
		return ctx
	}
	root := rootContext(image)
	decision := t.sampler.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: root.TraceID()}).Decision
	return trace.ContextWithRemoteSpanContext(ctx, root.WithTraceFlags(root.TraceFlags().WithSampled(decision == sdktrace.RecordAndSample)))
}

// rootContext returns the root span of an image as its children in other processes
// see it. It is invalid if the trace ID is.
func rootContext(image pipeline.TraceID) trace.SpanContext {
	c := trace.SpanContextConfig{Remote: true}
	if image.Valid() {
		_, _ = hex.Decode(c.TraceID[:], []byte(image))
		_, _ = hex.Decode(c.SpanID[:], []byte(pipeline.RootSpan(image)))
	}
	return trace.NewSpanContext(c)
}

// ImageEnd describes an image that has ended.
type ImageEnd struct {
	Image   pipeline.TraceID
	JobID   string
	Index   int
	Source  string // inline or url
	Bytes   int64  // size of the original
	Code    string // error code; empty for a completed image
	Text    string // the client's error text
	Origin  string // the job's Origin
	Created time.Time
	Ended   time.Time
}

// Ended records the root span of an image. Call it once for each image. The trace of
// ctx does not matter.
func (t *Tracer) Ended(ctx context.Context, e ImageEnd) {
	if t == nil {
		return
	}
	from := parseOrigin(e.Origin) //nolint:contextcheck // The parser wants a context but reads nothing from it.
	started := e.Created
	if !from.started.IsZero() && from.started.Before(started) {
		started = from.started // the work before the job was stored is a part of it
	}
	ended := e.Ended
	if ended.Before(started) {
		ended = started
	}
	_, span := t.start(context.WithValue(ctx, rootOf{}, e.Image), "image",
		linkTo(from, []trace.SpanStartOption{trace.WithNewRoot(), trace.WithTimestamp(started)})...)
	span.Image(e.JobID, e.Index)
	span.SetString("source", e.Source)
	if e.Bytes > 0 {
		span.SetInt("bytes", e.Bytes)
	}
	if e.Code == "" {
		span.SetString("status", string(pipeline.Completed))
	} else {
		span.SetString("status", string(pipeline.Failed))
		span.Fail(e.Code, e.Text)
	}
	span.endAt(ended)
}

// request is the part of a request that its images store.
type request struct {
	started time.Time
	span    trace.SpanContext // invalid if the request has no span
}

type requestKey struct{}

func requestOf(ctx context.Context) request {
	r, _ := ctx.Value(requestKey{}).(request)
	return r
}

// Origin returns a description of the request in the context, to be stored with a
// job and read by [Tracer.From] and [Tracer.Ended]. It is empty without a request.
func (t *Tracer) Origin(ctx context.Context) string {
	r := requestOf(ctx)
	if t == nil || r.started.IsZero() {
		return ""
	}
	origin := strconv.FormatInt(r.started.UnixMicro(), 10)
	if r.span.IsSampled() {
		origin += " " + traceparent(r.span)
	}
	return origin
}

// From returns a context with the request that an Origin describes.
func (t *Tracer) From(ctx context.Context, origin string) context.Context {
	if t == nil || origin == "" {
		return ctx
	}
	return context.WithValue(ctx, requestKey{}, parseOrigin(origin))
}

func parseOrigin(origin string) (r request) {
	started, traceparent, _ := strings.Cut(origin, " ")
	if micros, err := strconv.ParseInt(started, 10, 64); err == nil && micros > 0 {
		r.started = time.UnixMicro(micros)
	}
	r.span = parseTraceparent(traceparent)
	return r
}

// traceparent returns the W3C trace context of a span
// (https://www.w3.org/TR/trace-context/#traceparent-header).
func traceparent(c trace.SpanContext) string {
	return fmt.Sprintf("00-%s-%s-%s", c.TraceID(), c.SpanID(), c.TraceFlags()&trace.FlagsSampled)
}

// parseTraceparent reads a W3C trace context. For an invalid one it returns an invalid span context.
func parseTraceparent(s string) trace.SpanContext {
	carrier := propagation.MapCarrier{traceparentHeader: s}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// Continued starts a span of work that goes on after the request that an Origin describes, in the
// request's trace. It is recorded only if the request is.
func (t *Tracer) Continued(ctx context.Context, origin, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	return t.Part(trace.ContextWithRemoteSpanContext(ctx, parseOrigin(origin).span), name)
}
