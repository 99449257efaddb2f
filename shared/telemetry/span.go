package telemetry

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Span is one piece of work. It belongs to one goroutine. A nil Span is not
// recorded.
type Span struct{ span trace.Span }

// start starts a span. It returns nil if the span is not recorded.
func (t *Tracer) start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, *Span) {
	ctx, s := t.tracer.Start(ctx, name, options...)
	if !s.IsRecording() {
		return ctx, nil
	}
	return ctx, &Span{s}
}

// Part starts a part of the work that the context belongs to. It is recorded only if
// that work is.
func (t *Tracer) Part(ctx context.Context, name string) (context.Context, *Span) {
	return t.part(ctx, name, trace.SpanKindClient, time.Time{})
}

// part is Part with a kind, a start (zero: now) and attributes.
func (t *Tracer) part(ctx context.Context, name string, kind trace.SpanKind, started time.Time, attributes ...attribute.KeyValue) (context.Context, *Span) {
	if t == nil || !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, nil
	}
	return t.start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(started), trace.WithAttributes(attributes...))
}

// Request starts the span of an HTTP request. The route must be one of a bounded set. Traceparent contains the
// values of that header, in which the client may name its own trace; anything except one valid value is
// ignored. The tracestate is also ignored: it would put text of an untrusted client into all stored data.
func (t *Tracer) Request(ctx context.Context, method, route string, traceparent []string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	if len(traceparent) == 1 {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parseTraceparent(traceparent[0]))
	}
	started := time.Now()
	ctx, span := t.start(ctx, method+" "+route, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(started),
		trace.WithAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route)))
	return context.WithValue(ctx, requestKey{}, request{started, trace.SpanContextFromContext(ctx)}), span
}

// Responded records the status of a response. A status of 500 or above is an error.
func (s *Span) Responded(status int) {
	s.SetInt("http.response.status_code", int64(status))
	if s != nil && status >= http.StatusInternalServerError {
		s.Fail(strconv.Itoa(status), "")
	}
}

// SetString sets a text attribute, truncated to 256 characters. It ignores an empty text.
func (s *Span) SetString(key, value string) {
	if s != nil && value != "" {
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// SetInt sets a number attribute.
func (s *Span) SetInt(key string, value int64) {
	if s != nil {
		s.span.SetAttributes(attribute.Int64(key, value))
	}
}

// Image sets the image that the work is for.
func (s *Span) Image(jobID string, index int) {
	s.SetString("job_id", jobID)
	s.SetInt("index", int64(index))
}

// Event records an event at the current time.
func (s *Span) Event(name string) {
	if s != nil {
		s.span.AddEvent(name)
	}
}

// Fail marks the work as failed. The code is one of a bounded set; the text, which may be empty, must be fit
// for the client.
func (s *Span) Fail(code, text string) {
	if s != nil {
		s.span.SetAttributes(attribute.String("error_code", code), attribute.String("error.type", code))
		s.span.SetStatus(codes.Error, text)
	}
}

// End ends the span. Call it once.
func (s *Span) End() {
	if s != nil {
		s.span.End()
	}
}

// endAt ends the span at a time in the past.
func (s *Span) endAt(t time.Time) {
	if s != nil {
		s.span.End(trace.WithTimestamp(t))
	}
}

// finish ends the span of a broker or store operation and returns the operation's
// error.
func (s *Span) finish(err error) error {
	if err != nil {
		s.Fail(outcome(err), "")
	}
	s.End()
	return err
}
