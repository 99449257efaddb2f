package intake

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
)

const (
	// relayBatch is how many Uploads are published side by side.
	relayBatch = 256
	// relayTick is the safety net under the wake-ups.
	relayTick = 5 * time.Second
)

// wakeRelay says that something may be unsent.
func (in *Intake) wakeRelay() {
	select {
	case in.outbox <- struct{}{}:
	default:
	}
}

// relay publishes what is unsent, whenever it is woken, until ctx ends.
func (in *Intake) relay(ctx context.Context) {
	for ctx.Err() == nil {
		var once sync.Once
		more, err := backoff.Retry(ctx, func() (bool, error) { return in.relayOnce(ctx) },
			backoff.WithBackOff(stage.NewBackOff()), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
				once.Do(func() { in.deps.Log.WarnContext(ctx, "uploads not published yet", "error", err) })
			}))
		if more || err != nil { // an error is the end of ctx
			continue
		}
		select {
		case <-in.outbox:
		case <-time.After(relayTick):
		case <-ctx.Done():
		}
	}
}

// relayOnce publishes the oldest unsent Uploads and marks those that the broker
// has confirmed. A crash between the two sends them again. It reports whether
// there may be more.
func (in *Intake) relayOnce(ctx context.Context) (more bool, err error) {
	unsent, err := in.deps.Outbox.Unsent(ctx, relayBatch)
	if err != nil {
		return false, fmt.Errorf("read unsent uploads: %w", err)
	}
	if len(unsent) == 0 {
		return false, nil
	}
	errs := make([]error, len(unsent))
	var wg sync.WaitGroup
	for i := range unsent {
		wg.Go(func() {
			u := &unsent[i]
			errs[i] = stage.Publish(in.deps.Traces.Within(ctx, u.Image.TraceID), in.deps.Broker, pipeline.ImageUpload, u.Image.Upload(u.JobID, in.deps.Now()))
		})
	}
	wg.Wait()
	sent := make([]job.Unsent, 0, len(unsent))
	for i, e := range errs {
		if e == nil {
			sent = append(sent, unsent[i])
		} else {
			err = fmt.Errorf("publish upload: %w", e)
		}
	}
	in.metrics.unsent.Add(float64(len(unsent) - len(sent)))
	if len(sent) > 0 {
		in.metrics.sent.Add(float64(len(sent)))
		failpoint.Reach("uploads published", "")
		if markErr := in.deps.Outbox.MarkSent(ctx, sent); markErr != nil {
			return false, fmt.Errorf("mark uploads sent: %w", markErr)
		}
		failpoint.Reach("uploads marked sent", "")
	}
	return err == nil, err
}

// epochMarker is the queue whose absence says that the broker has forgotten what
// it held of this store's images.
func epochMarker(storeID string) string { return "imagebatch.epoch." + storeID }

// session is run at the start of every session with the broker. When the broker
// has forgotten everything, every open image is sent again.
func (in *Intake) session(ctx context.Context, fresh bool) error {
	if fresh {
		n, err := in.deps.Outbox.Resend(ctx, in.deps.Now().AddDate(100, 0, 0))
		if err != nil {
			return fmt.Errorf("resend open images: %w", err)
		}
		if n > 0 {
			in.metrics.resent.Add(float64(n), "fresh_broker")
			in.deps.Log.InfoContext(ctx, "the broker is new to us, open images are sent again", "images", n)
		}
	}
	in.wakeRelay()
	return nil
}

// When a message was lost in a way that nothing else notices, its image stays
// open. It is sent again after stuckAfter, but only when for quietFor nothing has
// moved and nothing has waited on any queue: a long queue is a backlog and no loss.
// What a consumer has in hand waits nowhere, but nobody holds it for that long: it
// is passed on, or put off for longer than from one look to the next. Each time
// that this brings nothing on, the next one waits twice as long.
const (
	stuckAfter = 10 * time.Minute
	quietFor   = stage.MaxHold + quietTick
	quietMost  = 24 * time.Hour
	quietTick  = 5 * time.Second
)

// resendStuck watches for a pipeline that has come to a stop, until ctx ends.
func (in *Intake) resendStuck(ctx context.Context) {
	backlog := broker.Backlog(pipeline.ImageUpload.Name, pipeline.MetadataGenerated.Name, pipeline.ImageProcessed.Name)
	quiet, calm, seen := time.Duration(0), quietFor, in.activity.Load()
	for {
		select {
		case <-time.After(quietTick):
		case <-ctx.Done():
			return
		}
		if now := in.activity.Load(); now != seen {
			quiet, calm, seen = 0, quietFor, now
			continue
		}
		if !in.nothingWaits(ctx, backlog) {
			quiet = 0
			continue
		}
		if quiet += quietTick; quiet < calm {
			continue
		}
		n, err := in.deps.Outbox.Resend(ctx, in.deps.Now().Add(-stuckAfter))
		if err != nil {
			in.deps.Log.WarnContext(ctx, "stuck images not sent again", "error", err)
			continue
		}
		quiet = 0
		if n > 0 {
			calm = min(2*calm, quietMost)
			in.metrics.resent.Add(float64(n), "stuck")
			in.deps.Log.WarnContext(ctx, "nothing has moved, old images are sent again", "images", n)
			in.wakeRelay()
		}
	}
}

// nothingWaits reports whether the broker is there and the queues are empty.
func (in *Intake) nothingWaits(ctx context.Context, queues []string) bool {
	if in.deps.Broker.Ready() != nil {
		return false
	}
	depth, err := in.deps.Broker.Depth(ctx, queues...)
	if err != nil && ctx.Err() == nil {
		in.deps.Log.DebugContext(ctx, "depth of the queues not known", "error", err)
	}
	return err == nil && depth == 0
}
