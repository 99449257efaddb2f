package captioner

import (
	"context"
	"errors"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
)

const (
	// maxHeld is the longest time that a delivery is in flight. A longer wait is spent on a retry queue.
	maxHeld = 4 * time.Minute
	// preparation is the time of a try in addition to its request: for the stores and the decoder. A further request
	// for which less than its timeout is left is sent by another try.
	preparation = 20 * time.Second
	// drainTime is how long a request may take that is in flight when the process stops. It leaves time
	// to publish the message within [service.DrainTime]; the image is then asked about again.
	drainTime = 15 * time.Second
)

// errStopping is the cause of a request that ends because the process stops.
var errStopping = errors.New("the analyzer stops")

// Run reads image_described until ctx ends and then finishes the images in flight. timeout is that
// of one request.
func (c *Captioner) Run(ctx context.Context, d stage.Deps, timeout time.Duration) error {
	d.Deadline = timeout + preparation
	d.ReturnAfter = maxHeld - d.Deadline
	stopping, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(drainTime, func() { stop(errStopping) })
		context.AfterFunc(stopping, func() { timer.Stop() })
	})()
	return stage.Run(ctx, d, pipeline.ImageDescribed, pipeline.MetadataGenerated, func(ctx context.Context, a pipeline.Analysis) (pipeline.Analysis, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		defer context.AfterFunc(stopping, func() { cancel(errStopping) })()
		return c.Step(ctx, a)
	})
}

// lookEvery is the time between two looks for a queue that does not exist yet.
const lookEvery = 10 * time.Second

// Pass reads image_described and passes the images on, for an analyzer whose captions are off. It waits
// for the queue: a gateway of a release without captions does not declare it, and an analyzer that needs
// no caption is ready without it.
func Pass(ctx context.Context, d stage.Deps) error {
	for {
		_, err := d.Broker.Depth(ctx, pipeline.ImageDescribed.Name)
		if err == nil {
			break
		}
		d.Log.DebugContext(ctx, "queue not found; looking again later", "queue", pipeline.ImageDescribed.Name, "error", err)
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return nil
		}
	}
	return stage.Run(ctx, d, pipeline.ImageDescribed, pipeline.MetadataGenerated, func(_ context.Context, a pipeline.Analysis) (pipeline.Analysis, error) {
		return Passed(a, d.Now()), nil
	})
}
