package tracing

import (
	"context"
	"strconv"
	"strings"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// Image begins a piece of work on an image. In a context that is already in the
// trace of the image the work is a part of what that is in the middle of, else it
// is a child of the image's root span; then it is linked to the request that
// brought the image, where the context knows it.
func (t *Tracer) Image(ctx context.Context, image pipeline.TraceID, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	return t.image(ctx, image, name, trace.SpanKindInternal)
}

// Consumed is Image for work that a message asked for.
func (t *Tracer) Consumed(ctx context.Context, image pipeline.TraceID, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	return t.image(ctx, image, name, trace.SpanKindConsumer)
}

func (t *Tracer) image(ctx context.Context, image pipeline.TraceID, name string, kind trace.SpanKind) (context.Context, *Span) {
	options := []trace.SpanStartOption{trace.WithSpanKind(kind)}
	if !within(ctx, image) {
		ctx = t.Within(ctx, image)
		if from := requestOf(ctx).span; from.IsSampled() {
			options = append(options, trace.WithLinks(trace.Link{SpanContext: from}))
		}
	}
	ctx, span := t.tracer.Start(ctx, name, options...)
	return ctx, recorded(span)
}

// within reports whether the context is in the trace of the image.
func within(ctx context.Context, image pipeline.TraceID) bool {
	return trace.SpanContextFromContext(ctx).TraceID() == traceID(image)
}

// Within is ctx in the trace of an image, below its root span. Whether the trace is
// recorded follows from its id, everywhere and at all times.
func (t *Tracer) Within(ctx context.Context, image pipeline.TraceID) context.Context {
	if t == nil {
		return ctx
	}
	var flags trace.TraceFlags
	if t.sampler.ShouldSample(sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: traceID(image)}).Decision == sdktrace.RecordAndSample {
		flags = trace.FlagsSampled
	}
	return trace.ContextWithRemoteSpanContext(ctx, rootContext(image, flags))
}

// Part begins a part of what the context is in the middle of. Where that is not
// recorded, or is nothing, the part is not either.
func (t *Tracer) Part(ctx context.Context, name string) (context.Context, *Span) {
	if t == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, nil
	}
	ctx, span := t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient))
	return ctx, recorded(span)
}

// End is how an image ended.
type End struct {
	Image   pipeline.TraceID
	JobID   string
	Index   int
	Source  string // inline or url
	Bytes   int64  // of the original
	Code    string // why it failed; empty when it did not
	Text    string // the same for the client
	Origin  string // of its job
	Created time.Time
	Ended   time.Time
}

// Ended records the root span of an image. It is called once for each image. What the
// context is in the middle of does not matter.
func (t *Tracer) Ended(ctx context.Context, e End) {
	if t == nil {
		return
	}
	from := parseOrigin(e.Origin)
	began := e.Created
	if !from.began.IsZero() && from.began.Before(began) {
		began = from.began // what was done before the job was stored is a part of it
	}
	ended := e.Ended
	if ended.Before(began) {
		ended = began
	}
	options := []trace.SpanStartOption{trace.WithNewRoot(), trace.WithTimestamp(began)}
	if from.span.IsSampled() {
		options = append(options, trace.WithLinks(trace.Link{SpanContext: from.span}))
	}
	_, started := t.tracer.Start(context.WithValue(ctx, rootOf{}, e.Image), "image", options...)
	span := recorded(started)
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

// request is what is remembered of a request that brings images.
type request struct {
	began time.Time
	span  trace.SpanContext // not valid where the request has no span
}

type requestKey struct{}

func requestOf(ctx context.Context) request {
	r, _ := ctx.Value(requestKey{}).(request)
	return r
}

// Origin is what is to be remembered, with a job, of the request in the context:
// a text that only this package reads. It is empty where there is nothing.
func (t *Tracer) Origin(ctx context.Context) string {
	r := requestOf(ctx)
	if t == nil || r.began.IsZero() {
		return ""
	}
	origin := strconv.FormatInt(r.began.UnixMicro(), 10)
	if r.span.IsSampled() {
		origin += " " + write(r.span)
	}
	return origin
}

// From is a context that knows the request again that an Origin is of.
func (t *Tracer) From(ctx context.Context, origin string) context.Context {
	if t == nil || origin == "" {
		return ctx
	}
	return context.WithValue(ctx, requestKey{}, parseOrigin(origin))
}

func parseOrigin(origin string) (r request) {
	began, traceparent, _ := strings.Cut(origin, " ")
	if micros, err := strconv.ParseInt(began, 10, 64); err == nil && micros > 0 {
		r.began = time.UnixMicro(micros)
	}
	r.span = parse(traceparent)
	return r
}
