package tracing

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Request begins the answer to a request. The route is one of few. Traceparent are
// the headers of that name, in which the client may have said what the request is a
// part of; what is not exactly one, and one in the form of W3C Trace Context, is as
// good as none. A tracestate is not looked at: it would be a stranger's text in
// everything that is stored.
func (t *Tracer) Request(ctx context.Context, method, route string, traceparent []string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	if len(traceparent) == 1 {
		ctx = trace.ContextWithRemoteSpanContext(ctx, parse(traceparent[0]))
	}
	began := time.Now()
	ctx, started := t.tracer.Start(ctx, method+" "+route, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(began),
		trace.WithAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route)))
	return context.WithValue(ctx, requestKey{}, request{began, started.SpanContext()}), recorded(started)
}

// Answered notes the status of a request's answer. The server's own faults are
// errors, and the client's are not.
func (s *Span) Answered(status int) {
	if s == nil {
		return
	}
	s.SetInt("http.response.status_code", int64(status))
	if status >= http.StatusInternalServerError {
		s.Fail(strconv.Itoa(status), "")
	}
}
