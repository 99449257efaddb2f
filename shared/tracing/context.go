package tracing

import (
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// parse reads a traceparent as W3C Trace Context has it
// (https://www.w3.org/TR/trace-context/#traceparent-header). What it can't read is
// not valid. A later version may have more behind what version 00 has; of the flags
// only the one that says that the trace is recorded counts. The propagator of the
// SDK would read it too, at the price of a context and of the baggage that it knows.
func parse(traceparent string) trace.SpanContext {
	const form = "00-00000000000000000000000000000000-0000000000000000-00"
	if len(traceparent) < len(form) {
		return trace.SpanContext{}
	}
	head, more := traceparent[:len(form)], traceparent[len(form):]
	for i := range len(form) {
		if (form[i] == '-') != (head[i] == '-') {
			return trace.SpanContext{}
		}
	}
	version, flags := head[:2], head[len(form)-2:]
	id, err := trace.TraceIDFromHex(head[3:35]) // neither takes capitals, or nothing but zeros
	span, spanErr := trace.SpanIDFromHex(head[36:52])
	switch {
	case err != nil || spanErr != nil || !isHex(version) || !isHex(flags) || version == "ff",
		version == "00" && more != "", more != "" && more[0] != '-':
		return trace.SpanContext{}
	}
	c := trace.SpanContextConfig{TraceID: id, SpanID: span, Remote: true}
	if strings.IndexByte("13579bdf", flags[1]) >= 0 {
		c.TraceFlags = trace.FlagsSampled
	}
	return trace.NewSpanContext(c)
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}

// write is the traceparent of a span.
func write(c trace.SpanContext) string {
	flags := "-00"
	if c.IsSampled() {
		flags = "-01"
	}
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + flags
}
