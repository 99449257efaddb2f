package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
)

// RootSpan returns the ID of the root span of an image's trace, 16 hex digits. It is
// derived from the trace ID only, so that every process, also after a restart, uses the
// same parent for its own spans.
func RootSpan(id TraceID) string {
	sum := sha256.Sum256([]byte(string(id) + "image"))
	return hex.EncodeToString(sum[:8])
}

// Traceparent returns the W3C trace context (https://www.w3.org/TR/trace-context/) of
// an image: its trace ID, with its root span as the parent, not sampled. A process that
// records spans replaces the parent with its own span.
func Traceparent(id TraceID) string {
	return "00-" + string(id) + "-" + RootSpan(id) + "-00"
}

// Carried returns the trace context of an outgoing message about an image: that of the
// incoming message if it belongs to the same trace, otherwise own. So a process that
// records no spans keeps the traces of the others connected.
func Carried(own, incoming string) string {
	if id, ok := traceOf(incoming); ok && len(own) > 35 && own[3:35] == string(id) {
		return incoming
	}
	return own
}

// traceOf returns the trace ID of a trace context of version 00, the only version that
// Imagebatch writes.
func traceOf(traceparent string) (TraceID, bool) {
	const form = "00-00000000000000000000000000000000-0000000000000000-00"
	if len(traceparent) != len(form) {
		return "", false
	}
	for i := range len(form) {
		c := traceparent[i]
		if form[i] == '-' || i < 2 {
			if c != form[i] {
				return "", false
			}
		} else if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return "", false
		}
	}
	return TraceID(traceparent[3:35]), true
}
