package stage

import (
	"context"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// begin begins the span of what is done for a message.
func begin(ctx context.Context, w *worker, h pipeline.Envelope) (context.Context, *telemetry.Span) {
	ctx, span := w.deps.Traces.Consumed(ctx, h.TraceID, w.deps.Work)
	span.Image(h.JobID, h.Index)
	span.SetInt("attempt", int64(h.Attempt))
	return ctx, span
}

// tell notes what came of it.
func tell(span *telemetry.Span, o outcome) {
	span.SetString("outcome", o.label)
	if o.code != "" {
		span.Fail(o.code, o.text)
	}
}

// carryOn has what is sent for a message be in the trace that it came in.
func carryOn(dv broker.Delivery, send []letter) {
	for _, l := range send {
		own, ok := l.message.Headers[traceparent]
		if came := pipeline.Carried(own, dv.Headers[traceparent]); ok && came != own {
			l.message.Headers[traceparent] = came
		}
	}
}
