package stage

import (
	"context"
	"encoding/json"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// DrainDead calls do for the dead letters of all queues, until ctx ends. It decodes
// only their envelope, of any version. A dead letter has no further queue to go to, so
// DrainDead retries in place when do fails. It logs and drops a dead letter that it
// cannot decode, because the dead-letter queue keeps a copy.
func DrainDead(ctx context.Context, d Deps, do func(context.Context, pipeline.Envelope) error) error {
	w := newWorker(d, broker.DeadResults)
	return w.consume(ctx, w.queue, w.deps.Concurrency, func(work, round context.Context, dv broker.Delivery) error {
		until := time.Now().Add(w.deps.ReturnAfter)
		var h pipeline.Envelope
		if err := json.Unmarshal(dv.Body, &h); err != nil || !h.Valid() {
			w.deps.Log.ErrorContext(work, "cannot decode dead letter", "error", err, "bytes", len(dv.Body))
			return w.finish(work, round, dv, until, outcome{label: "malformed"})
		}
		work, span := startSpan(work, w, h)
		defer span.End()
		err := persist(round, until, func(err error) {
			w.deps.Log.WarnContext(work, "dead letter waits for a dependency", "image", h, "error", err)
		}, func() error {
			_, err := try(work, w, h, func(ctx context.Context, h pipeline.Envelope) (struct{}, error) { return struct{}{}, do(ctx, h) })
			return err
		})
		switch {
		case err != nil && round.Err() != nil:
			span.Fail("interrupted", "")
			return nil // not acked: the message returns to the queue
		case err != nil:
			span.Fail("unavailable", "")
			return errReturned
		}
		span.SetString("outcome", "done")
		return w.finish(work, round, dv, until, outcome{label: "done"})
	})
}
