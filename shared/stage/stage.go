// Package stage is the loop round one step of the pipeline, written once: take
// a message, do the step, publish what came of it, and only then ack.
//
// A step is a function from one message to the next and ends in one of these
// ways:
//
//   - It returns a message, which is published.
//   - It returns a [*pipeline.Failure]: the image's own fault. The image ends now,
//     with a failed Result.
//   - It returns an error that wraps [ErrUnavailable] or the like of the broker or
//     the object store: something the step needs is away. That is not counted.
//     The delivery is kept and tried again in place, with a back-off of at most
//     5 s, until the dependency answers or GiveBack has passed; then it goes to
//     the retry ladder as it is. An outage of any length fails no image.
//   - It returns any other error, panics or passes its deadline: counted in the
//     message's attempt and tried again over the retry ladder. After
//     [pipeline.MaxAttempts] the message goes to the dead queue and the image ends.
//
// A message that was delivered before and not acked may have killed the process
// that had it. It is not processed but moved to the suspect queue, of which each
// worker takes one at a time, so that only the message in hand is to blame if
// the process dies again; the broker makes it a dead letter after some deaths.
//
// A message of a version that this release does not read is not decoded further. It goes
// round the retry ladder as it is, uncounted and for however long, until a consumer takes
// it that reads it: a newer release that is being rolled out, or the one that was
// rolled back.
//
// A message that leaves carries on the trace context of the one that caused it; where
// there is a Tracer, all that is done for a message is one span.
//
// Every message that leaves is confirmed before the one that caused it is acked,
// so a crash at any point repeats work and loses none. Nothing is ever nacked.
package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// ErrUnavailable marks, when a step wraps it, an error of something that is away
// and will come back.
var ErrUnavailable = errors.New("dependency unavailable")

// Deps are what a stage needs.
type Deps struct {
	Broker  broker.Broker
	Log     *slog.Logger
	Metrics *telemetry.Registry
	Now     func() time.Time

	Traces *telemetry.Tracer // may be nil
	Work   string            // what the step is called in traces; default: as the queue

	// Ready tells whether what the step needs is there. It is asked before the
	// stage takes messages again after it has given some back. May be nil.
	Ready func(context.Context) error

	Concurrency int           // messages in hand at once, at least 1; no more are fetched
	Deadline    time.Duration // of one try, default DefaultDeadline
	GiveBack    time.Duration // how long an outage is sat out with a delivery in hand, default DefaultGiveBack
}

// MaxHold is how long a delivery is in hand at most, with the default bounds: far
// from the 30 minutes after which RabbitMQ cuts a consumer off. What was begun
// with it is over then, so that whoever clears up knows how long to wait.
const MaxHold = 5 * time.Minute

// Defaults of Deps. The last try may begin when GiveBack is all but over, and what
// comes of it is to be published yet; that stays under MaxHold.
const (
	DefaultDeadline = 45 * time.Second
	DefaultGiveBack = 230 * time.Second
)

// Run reads in, does the step and publishes to out, until ctx ends; then it
// finishes what it has in hand and returns nil.
func Run[In, Out pipeline.Message](ctx context.Context, d Deps, in pipeline.Queue[In], out pipeline.Queue[Out],
	do func(context.Context, In) (Out, error),
) error {
	w := newWorker(d, in.Name)
	handle := func(ctx context.Context, body []byte, m In) outcome {
		next, err := try(ctx, w, m, do)
		if err != nil {
			return w.failed(ctx, m.Header(), body, err)
		}
		return emit(w, out, next)
	}
	suspect := broker.QuarantineQueue(in.Name)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return w.consume(ctx, in.Name, w.deps.Concurrency, func(work, round context.Context, dv broker.Delivery) error {
			if dv.Redelivered {
				return w.finish(work, round, dv, time.Now().Add(w.deps.GiveBack), outcome{
					label: "suspected", send: []letter{{suspect, broker.Message{Body: dv.Body, Headers: dv.Headers}}},
				})
			}
			return receive(work, round, w, dv, handle)
		})
	})
	g.Go(func() error {
		return w.consume(ctx, suspect, 1, func(work, round context.Context, dv broker.Delivery) error {
			return receive(work, round, w, dv, handle)
		})
	})
	return g.Wait()
}

// Drain reads in and does the step, the last of the line, until ctx ends. A
// message that was delivered before is done like any other: the step must not
// be one that a message can kill.
func Drain[In pipeline.Message](ctx context.Context, d Deps, in pipeline.Queue[In], do func(context.Context, In) error) error {
	w := newWorker(d, in.Name)
	return w.consume(ctx, in.Name, w.deps.Concurrency, func(work, round context.Context, dv broker.Delivery) error {
		return receive(work, round, w, dv, func(ctx context.Context, body []byte, m In) outcome {
			_, err := try(ctx, w, m, func(ctx context.Context, m In) (struct{}, error) { return struct{}{}, do(ctx, m) })
			if err != nil {
				return w.failed(ctx, m.Header(), body, err)
			}
			return outcome{label: "done"}
		})
	})
}

// Publish puts one message on its queue. It returns when the broker has it.
func Publish[M pipeline.Message](ctx context.Context, b broker.Broker, q pipeline.Queue[M], m M) error {
	l, err := compose(q.Name, m)
	if err != nil {
		return err
	}
	return b.Publish(ctx, l.queue, l.message)
}

// letter is a message with its address.
type letter struct {
	queue   string
	message broker.Message
}

func compose[M pipeline.Message](queue string, m M) (letter, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return letter{}, fmt.Errorf("encode message for %s: %w", queue, err)
	}
	if len(body) > pipeline.MaxMessageBytes {
		return letter{}, fmt.Errorf("message for %s has %d bytes, over %d", queue, len(body), pipeline.MaxMessageBytes)
	}
	return letter{queue, broker.Message{Body: body, Headers: traceHeaders(m.Header().TraceID)}}, nil
}

func traceHeaders(id pipeline.TraceID) map[string]string {
	return map[string]string{traceparent: pipeline.Traceparent(id)}
}

// traceparent is the header of the trace context.
const traceparent = "traceparent"

// unavailable reports whether the error says that a dependency is away.
func unavailable(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, broker.ErrUnavailable) || errors.Is(err, objectstore.ErrUnavailable)
}
