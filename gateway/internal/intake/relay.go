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
	// relayBatch is the number of Uploads published concurrently.
	relayBatch = 256
	// relayTick is how often the relay runs without a wake-up.
	relayTick = 5 * time.Second
)

// wakeRelay signals that an Upload may be unsent.
func (in *Intake) wakeRelay() {
	select {
	case in.outbox <- struct{}{}:
	default:
	}
}

// relay publishes unsent Uploads whenever it is woken, until ctx is done.
func (in *Intake) relay(ctx context.Context) {
	for ctx.Err() == nil {
		var once sync.Once
		more, err := backoff.Retry(ctx, func() (bool, error) { return in.relayOnce(ctx) },
			backoff.WithBackOff(stage.NewBackOff()), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
				once.Do(func() { in.deps.Log.WarnContext(ctx, "uploads not published yet", "error", err) })
			}))
		if more || err != nil { // an error means that ctx is done
			continue
		}
		select {
		case <-in.outbox:
		case <-time.After(relayTick):
		case <-ctx.Done():
		}
	}
}

// relayOnce publishes the oldest unsent Uploads and marks the confirmed ones as sent. After a
// crash between the two they are sent again. It reports whether there may be more.
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
			upload := u.Image.Upload(u.JobID, in.deps.Now())
			upload.Store = in.deps.Outbox.ID()
			errs[i] = stage.Publish(in.deps.Traces.Within(ctx, u.Image.TraceID), in.deps.Broker, pipeline.ImageUpload, upload)
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

// EpochMarker returns the name of the queue whose absence means that the broker has lost the
// messages of this store's images.
func EpochMarker(storeID string) string { return "imagebatch.epoch." + storeID }

// session runs at the start of every broker session. If the broker has lost its data, all
// open images are sent again.
func (in *Intake) session(ctx context.Context, fresh bool) error {
	if fresh {
		n, err := in.deps.Outbox.Resend(ctx, in.deps.Now().AddDate(100, 0, 0))
		if err != nil {
			return fmt.Errorf("resend open images: %w", err)
		}
		if n > 0 {
			in.metrics.resent.Add(float64(n), "fresh_broker")
			in.deps.Log.InfoContext(ctx, "broker has lost its data; sending all open images again", "images", n)
		}
	}
	in.wakeRelay()
	return nil
}

// If a message is lost without any sign, its image stays open. It is sent again after
// stuckAfter, but only if for quietFor no image has made progress and no message has waited in a
// queue: a long queue is a backlog, not a loss. A message in flight at a consumer is not in a
// queue, but no consumer keeps one for longer than quietFor: it passes the message on, or
// delays it for longer than the interval of the checks. Whenever a resend brings no progress,
// the next one waits twice as long.
const (
	stuckAfter = 10 * time.Minute
	quietFor   = stage.MaxHold + quietTick
	quietMost  = 24 * time.Hour
	quietTick  = 5 * time.Second
)

// resendStuck resends old images when the pipeline is stuck, until ctx is done.
func (in *Intake) resendStuck(ctx context.Context) {
	backlog := broker.Backlog(pipeline.WorkQueues()...)
	quiet, threshold, seen := time.Duration(0), quietFor, in.activity.Load()
	for {
		select {
		case <-time.After(quietTick):
		case <-ctx.Done():
			return
		}
		if now := in.activity.Load(); now != seen {
			quiet, threshold, seen = 0, quietFor, now
			continue
		}
		if !in.queuesEmpty(ctx, backlog) {
			quiet = 0
			continue
		}
		if quiet += quietTick; quiet < threshold {
			continue
		}
		n, err := in.deps.Outbox.Resend(ctx, in.deps.Now().Add(-stuckAfter))
		if err != nil {
			in.deps.Log.WarnContext(ctx, "resending stuck images failed", "error", err)
			continue
		}
		quiet = 0
		if n > 0 {
			threshold = min(2*threshold, quietMost)
			in.metrics.resent.Add(float64(n), "stuck")
			in.deps.Log.WarnContext(ctx, "no progress; sending old images again", "images", n)
			in.wakeRelay()
		}
	}
}

// queuesEmpty reports whether the broker is available and the queues are empty.
func (in *Intake) queuesEmpty(ctx context.Context, queues []string) bool {
	if in.deps.Broker.Ready() != nil {
		return false
	}
	depth, err := in.deps.Broker.Depth(ctx, queues...)
	if err != nil && ctx.Err() == nil {
		in.deps.Log.DebugContext(ctx, "queue depth unknown", "error", err)
	}
	return err == nil && depth == 0
}
