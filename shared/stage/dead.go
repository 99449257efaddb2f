package stage

import (
	"context"
	"encoding/json"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// DrainDead reads the dead letters of all queues, until ctx ends. Only their
// envelope is understood, of whatever version. This is the end of every line:
// what does not work here is tried again in place, and a letter that nobody
// understands is logged and dropped, since its dead queue keeps it.
func DrainDead(ctx context.Context, d Deps, do func(context.Context, pipeline.Envelope) error) error {
	w := newWorker(d, broker.DeadResults)
	return w.consume(ctx, w.queue, w.deps.Concurrency, func(work, round context.Context, dv broker.Delivery) error {
		until := time.Now().Add(w.deps.GiveBack)
		var h pipeline.Envelope
		if err := json.Unmarshal(dv.Body, &h); err != nil || !h.Valid() {
			w.deps.Log.ErrorContext(work, "dead letter not understood", "error", err, "bytes", len(dv.Body))
			return w.finish(work, round, dv, until, outcome{label: "malformed"})
		}
		work, span := begin(work, w, h)
		defer span.End()
		err := persist(round, until, func(err error) {
			w.deps.Log.WarnContext(work, "dead letter waits", "image", h, "error", err)
		}, func() error {
			_, err := try(work, w, h, func(ctx context.Context, h pipeline.Envelope) (struct{}, error) { return struct{}{}, do(ctx, h) })
			return err
		})
		switch {
		case err != nil && round.Err() != nil:
			span.Fail("interrupted", "")
			return nil // not acked: it goes back
		case err != nil:
			span.Fail("unavailable", "")
			return errGiveBack
		}
		span.SetString("outcome", "done")
		return w.finish(work, round, dv, until, outcome{label: "done"})
	})
}
