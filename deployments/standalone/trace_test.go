package main

import (
	"slices"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// trace contains the spans of one image.
type trace struct {
	t     *testing.T
	all   []telemetrytest.Span
	known map[string]telemetrytest.Span // spans by ID
}

// never is the time of the kill if no process was killed.
var never time.Time

// traceOf returns the spans of an image and verifies that they form one tree in which no span
// starts before its parent. Spans that were open when a process was killed are lost, so their
// children may have no parent if they started before the kill.
func traceOf(t *testing.T, spans []telemetrytest.Span, id string, killed time.Time) trace {
	t.Helper()
	tr := trace{t: t, known: map[string]telemetrytest.Span{}}
	for _, s := range spans {
		if s.TraceID == id {
			tr.all = append(tr.all, s)
			if _, twice := tr.known[s.SpanID]; twice {
				t.Errorf("two spans have the same ID: %s", telemetrytest.List([]telemetrytest.Span{s}))
			}
			tr.known[s.SpanID] = s
		}
	}
	if roots := telemetrytest.Named(tr.all, "image"); len(roots) != 1 || roots[0].Parent != "" || roots[0].SpanID != pipeline.RootSpan(pipeline.TraceID(id)) {
		t.Errorf("roots of %s: %s", id, telemetrytest.List(roots))
	}
	for _, s := range tr.all {
		parent, ok := tr.known[s.Parent]
		switch {
		case s.Name != "image" && !ok && s.Start.After(killed):
			t.Errorf("the parent of a span is missing: %s", telemetrytest.List([]telemetrytest.Span{s}))
		case ok && s.Start.Before(parent.Start), s.End.Before(s.Start):
			t.Errorf("a span starts before its parent, or ends before it starts: %s", telemetrytest.List([]telemetrytest.Span{parent, s}))
		}
	}
	return tr
}

// complete reports whether the whole trace has arrived, except for spans lost by the kill.
func complete(spans []telemetrytest.Span, id string, killed time.Time) bool {
	names, known := map[string]bool{}, map[string]bool{}
	for _, s := range spans {
		if s.TraceID == id {
			names[s.Name], known[s.SpanID] = true, true
		}
	}
	for _, s := range spans {
		if s.TraceID == id && s.Name != "image" && !known[s.Parent] && s.Start.After(killed) {
			return false
		}
	}
	return names["image"] && (names["settle"] || !names["publish image_upload"])
}

// path returns the names of the spans from the root to a span.
func (tr trace) path(s telemetrytest.Span) []string {
	names := []string{s.Name}
	for s.Parent != "" && len(names) < 20 {
		s = tr.known[s.Parent] // the zero value, without a parent, if the span was lost
		names = append([]string{s.Name}, names...)
	}
	return names
}

// has returns the only span at a path from the root.
func (tr trace) has(path ...string) telemetrytest.Span {
	tr.t.Helper()
	for _, s := range tr.all {
		if slices.Equal(tr.path(s), path) {
			return s
		}
	}
	tr.t.Errorf("there is no span at %q:\n%s", path, telemetrytest.List(tr.all))
	return telemetrytest.Span{}
}
