// Package stage runs one step of the pipeline in a loop: take a message, run the step,
// publish its output, and only then ack the message.
//
// A step is a function from one message to the next and ends in one of these ways:
//
//   - It returns a message. The stage publishes it.
//   - It returns a [*pipeline.Failure]: the image itself is at fault. The image ends
//     now, with a failed Result. One that may pass counts as an attempt, like any other
//     error, and ends the image at the last attempt.
//   - It returns an error that wraps [ErrUnavailable], or the corresponding error of
//     the broker or the object store: a dependency is unavailable. This does not count
//     as an attempt. The stage keeps the delivery and tries again in place, with a
//     backoff of at most 5 s, until the dependency responds or ReturnAfter has passed.
//     Then it moves the message to a retry queue, unchanged. An outage of any length
//     fails no image.
//   - It returns a [*Later]: it waits for something that is no dependency of the whole
//     stage. This does not count as an attempt either. The stage keeps the delivery for
//     the time that the step chose, and then moves the message of the step to a retry
//     queue.
//   - It returns any other error, panics or exceeds its deadline. The stage increments
//     the message's attempt and tries again through the retry queues. After
//     [pipeline.MaxAttempts] the message goes to the dead-letter queue and the image
//     ends.
//
// A message that was delivered before and not acked may have killed the process that
// had it. The stage does not process it but moves it to the quarantine queue. Each
// worker takes one message at a time from that queue, so that only the message in
// flight is to blame if the process dies again. After some deaths, the broker makes it
// a dead letter.
//
// A message of a version that this release does not read is not decoded further. It
// circulates through a retry queue unchanged and uncounted, until a consumer takes it
// that reads its version: a newer release during a rollout, or the release that was
// rolled back.
//
// An outgoing message carries the trace context of the message that caused it. With a
// Tracer, all work for one message is one span.
//
// Every outgoing message is confirmed before the message that caused it is acked, so a
// crash at any point repeats work and loses none. The stage never nacks a message.
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

// ErrUnavailable marks an error of a dependency that is temporarily unavailable. Steps
// wrap it.
var ErrUnavailable = errors.New("dependency unavailable")

// Later is the error of a step that needs its message again after a while. Message takes the
// place of the one that the step received, so that the step can keep the state of its wait; it
// must be of the same type.
type Later struct { //nolint:errname // It is a decision of the step, not a fault.
	Message pipeline.Message
	After   time.Duration // the earliest time of the next try, from now
	Hold    time.Duration // how long the delivery keeps its slot before it moves to a retry queue
	Err     error         // for the log
}

func (l *Later) Error() string { return "needed again later: " + l.Err.Error() }

func (l *Later) Unwrap() error { return l.Err }

// Deps are the dependencies and settings of a stage.
type Deps struct {
	Broker  broker.Broker
	Log     *slog.Logger
	Metrics *telemetry.Registry
	Now     func() time.Time

	Traces *telemetry.Tracer // may be nil
	Work   string            // name of the step in traces; default: the queue name

	// Ready reports whether the step's dependencies are available. The stage calls it
	// before it takes messages again after it has returned some to the queue. May be
	// nil.
	Ready func(context.Context) error

	Concurrency int           // maximum number of messages in flight, at least 1; also the prefetch
	Deadline    time.Duration // time limit of one try, default DefaultDeadline
	ReturnAfter time.Duration // how long a delivery waits for a dependency, default DefaultReturnAfter

	// Leads and Yields order two stages in one process: the quarantined messages of the stage with Leads
	// come before those of the stage with Yields. The stage that content can kill yields. They may be nil.
	Leads, Yields *Precedence
}

// MaxHold is the longest time that a delivery is in flight, with the default limits. It
// is far below the 30 minutes after which RabbitMQ disconnects a consumer. Cleanup can
// rely on it: after MaxHold, all work for a delivery has ended.
const MaxHold = 5 * time.Minute

// Defaults of Deps. The last try may start just before ReturnAfter has passed, and its
// output must still be published; all of that stays within MaxHold.
const (
	DefaultDeadline    = 45 * time.Second
	DefaultReturnAfter = 230 * time.Second
)

// Run reads messages from in, runs the step and publishes its output to out, until ctx
// ends. Then it finishes the messages in flight and returns nil.
func Run[In, Out pipeline.Message](ctx context.Context, d Deps, in pipeline.Queue[In], out pipeline.Queue[Out],
	do func(context.Context, In) (Out, error),
) error {
	return Route(ctx, d, in, func(Out) pipeline.Queue[Out] { return out }, do)
}

// Route is Run for a step whose output decides about its queue.
func Route[In, Out pipeline.Message](ctx context.Context, d Deps, in pipeline.Queue[In], out func(Out) pipeline.Queue[Out],
	do func(context.Context, In) (Out, error),
) error {
	w := newWorker(d, in.Name)
	handle := func(ctx context.Context, body []byte, m In) outcome {
		next, err := try(ctx, w, m, do)
		if err != nil {
			return w.failed(ctx, m.Header(), body, err)
		}
		return emit(w, out(next), next)
	}
	quarantine := broker.QuarantineQueue(in.Name)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return w.consume(ctx, in.Name, w.deps.Concurrency, func(work, round context.Context, dv broker.Delivery) error {
			if dv.Redelivered {
				return w.finish(work, round, dv, time.Now().Add(w.deps.ReturnAfter), outcome{
					label: "suspected", send: []outgoing{{quarantine, broker.Message{Body: dv.Body, Headers: dv.Headers}}},
				})
			}
			return receive(work, round, w, dv, handle)
		})
	})
	g.Go(func() error {
		return w.consume(ctx, quarantine, 1, func(work, round context.Context, dv broker.Delivery) error {
			defer w.deps.Leads.hold()()
			if !w.deps.Yields.yield(round) {
				return nil // not acked: the message returns to the queue
			}
			return receive(context.WithValue(work, deadly{}, dv.Redelivered), round, w, dv, handle)
		})
	})
	return g.Wait()
}

type deadly struct{}

// Deadly reports whether the message of a step with this context has probably killed its process
// twice, the second time alone. A step that can do without a dangerous part leaves it out then.
func Deadly(ctx context.Context) bool {
	yes, _ := ctx.Value(deadly{}).(bool)
	return yes
}

// Drain reads messages from in and runs the step, which has no output, until ctx ends.
// It does not quarantine redelivered messages, so the step must be one that no message
// can kill.
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

// Publish publishes one message on its queue. It returns after the broker's confirm.
func Publish[M pipeline.Message](ctx context.Context, b broker.Broker, q pipeline.Queue[M], m M) error {
	msg, err := compose(q.Name, m)
	if err != nil {
		return err
	}
	return b.Publish(ctx, msg.queue, msg.message)
}

// outgoing is a message and the queue to publish it to.
type outgoing struct {
	queue   string
	message broker.Message
}

func compose[M pipeline.Message](queue string, m M) (outgoing, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return outgoing{}, fmt.Errorf("encode message for %s: %w", queue, err)
	}
	if len(body) > pipeline.MaxMessageBytes {
		return outgoing{}, fmt.Errorf("message for %s has %d bytes, more than the limit of %d", queue, len(body), pipeline.MaxMessageBytes)
	}
	return outgoing{queue, broker.Message{Body: body, Headers: traceHeaders(m.Header().TraceID)}}, nil
}

func traceHeaders(id pipeline.TraceID) map[string]string {
	return map[string]string{traceparent: pipeline.Traceparent(id)}
}

// traceparent is the header with the W3C trace context.
const traceparent = "traceparent"

// unavailable reports whether err means that a dependency is unavailable.
func unavailable(err error) bool {
	return errors.Is(err, ErrUnavailable) || errors.Is(err, broker.ErrUnavailable) || errors.Is(err, objectstore.ErrUnavailable)
}
