package stage

import (
	"context"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// startSpan starts the span of the work for one message.
func startSpan(ctx context.Context, w *worker, h pipeline.Envelope) (context.Context, *telemetry.Span) {
	ctx, span := w.deps.Traces.Consumed(ctx, h.TraceID, w.deps.Work)
	span.Image(h.JobID, h.Index)
	span.SetInt("attempt", int64(h.Attempt))
	return ctx, span
}

// recordOutcome records the outcome of the work in the span.
func recordOutcome(span *telemetry.Span, o outcome) {
	span.SetString("outcome", o.label)
	if o.code != "" {
		span.Fail(o.code, o.text)
	}
}

// continueTrace copies the trace context of the delivery to the outgoing messages, if
// they belong to the same trace.
func continueTrace(dv broker.Delivery, send []outgoing) {
	for _, o := range send {
		own, ok := o.message.Headers[traceparent]
		if incoming := pipeline.Carried(own, dv.Headers[traceparent]); ok && incoming != own {
			o.message.Headers[traceparent] = incoming
		}
	}
}
