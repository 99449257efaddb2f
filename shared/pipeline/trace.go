package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
)

// RootSpan is the id of the root span of an image's trace, 16 hex digits. It is
// derived from the trace id alone, so that every process, and one that was started
// anew, finds the same parent for its own spans without being told.
func RootSpan(id TraceID) string {
	sum := sha256.Sum256([]byte(string(id) + "image"))
	return hex.EncodeToString(sum[:8])
}

// Traceparent is the W3C trace context (https://www.w3.org/TR/trace-context/) of
// an image: its trace id, and its root span for a parent. It says that nothing is
// recorded; a process that records its part puts its own span in its place.
func Traceparent(id TraceID) string {
	return "00-" + string(id) + "-" + RootSpan(id) + "-00"
}

// Carried is the trace context that a message about an image carries on: the one
// that the message before it came with, where that is of the same trace, else own.
// A process that records nothing so leaves the traces of the others whole.
func Carried(own, came string) string {
	if id, ok := traceOf(came); ok && len(own) > 35 && own[3:35] == string(id) {
		return came
	}
	return own
}

// traceOf reads the trace id out of a trace context, version 00 and nothing else:
// it is one of ours.
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
