// Package telemetry measures what a process does: metrics for Prometheus, traces for an OpenTelemetry
// collector, and one decorator each for the broker and the object store, which counts, times and traces every
// operation. It has no global state: a [Registry] and a [Tracer] belong to one process or test.
//
// It is the only importer of the Prometheus client library and of OpenTelemetry (go.opentelemetry.io/otel,
// Apache-2.0): the SDK batches the spans, and its OTLP exporter over HTTP sends them. The exporter also reads
// the environment, but [Open] sets every option that the environment could change.
//
// # Metrics
//
// Names get the prefix imagebatch_ and follow the Prometheus conventions: base units, _total for counters,
// bounded labels. A job ID, a trace ID and an object key are never labels.
//
// Parts of one process may request the same metric and share it. Requesting a name again with a different type,
// help, label or bucket is a bug: the constructor panics. Using a metric never panics: a value that it cannot
// accept (missing labels, a negative increment) is dropped and counted in imagebatch_metrics_faults_total, and
// invalid UTF-8 in a label is replaced.
//
// # Traces
//
// Each image has one trace, and the trace's ID is the image's trace_id. Its root is a span named image, from
// the request that submitted the image to the image's end. The root's ID is derived from the trace ID (see
// [pipeline.RootSpan]), so every process knows the parent of its spans, even after a restart. The gateway whose
// write ended the image sends the root, once. All other spans of the image are descendants of the root,
// wherever they were recorded: each message contains its parent in the header traceparent. A request is in a
// trace of its own or in its client's; the root and the intake of each image are linked to the request.
//
// A nil *Tracer is switched off: it allocates nothing, starts no goroutine and opens no connection.
//
// Spans wait in a bounded queue. A span that does not fit is dropped and counted, and so is a batch that the
// collector does not accept within [exportTimeout]. An unavailable, slow or broken collector neither delays nor
// fails an image, and it delays the end of the process by at most [flushTimeout].
//
// A span never contains secrets or text of untrusted clients: no URL except the host that an image is
// downloaded from, no header, no file name, no object key, and no error text except the one that the client
// gets.
package telemetry

import (
	"context"
	"errors"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// outcome returns the label and error code for the result of a broker or store
// operation. The error's text could contain an object key, and so a file name.
func outcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, objectstore.ErrNotExist):
		return "not_found"
	case errors.Is(err, objectstore.ErrChanged):
		return "changed"
	case errors.Is(err, broker.ErrNoRoute):
		return "returned"
	case errors.Is(err, objectstore.ErrUnavailable), errors.Is(err, broker.ErrUnavailable):
		return "unavailable"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "given_up"
	default:
		return "error"
	}
}
