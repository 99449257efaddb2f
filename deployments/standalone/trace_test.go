package main

import (
	"slices"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// trace is the spans of one image.
type trace struct {
	t     *testing.T
	all   []telemetrytest.Span
	known map[string]telemetrytest.Span // by id
}

// never is the time of a kill that there was not.
var never time.Time

// traceOf picks the spans of an image and holds that they are one whole tree in
// which nothing begins before what it is a part of. A span that was in hand at a kill
// before the time is lost, and its parts have no parent.
func traceOf(t *testing.T, spans []telemetrytest.Span, id string, killed time.Time) trace {
	t.Helper()
	tr := trace{t: t, known: map[string]telemetrytest.Span{}}
	for _, s := range spans {
		if s.TraceID == id {
			tr.all = append(tr.all, s)
			if _, twice := tr.known[s.SpanID]; twice {
				t.Errorf("two spans have one id: %s", telemetrytest.List([]telemetrytest.Span{s}))
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
			t.Errorf("its parent is not known: %s", telemetrytest.List([]telemetrytest.Span{s}))
		case ok && s.Start.Before(parent.Start), s.End.Before(s.Start):
			t.Errorf("it begins before its parent, or ends before it begins: %s", telemetrytest.List([]telemetrytest.Span{parent, s}))
		}
	}
	return tr
}

// complete reports whether all of the trace has arrived, less what was lost by a
// kill before the time.
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

// path is the names from the root to a span.
func (tr trace) path(s telemetrytest.Span) []string {
	names := []string{s.Name}
	for s.Parent != "" && len(names) < 20 {
		s = tr.known[s.Parent] // nothing, with no parent, where it is lost
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
	tr.t.Errorf("nothing is recorded at %q:\n%s", path, telemetrytest.List(tr.all))
	return telemetrytest.Span{}
}
