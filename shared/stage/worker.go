package stage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// errGiveBack ends a consumer whose deliveries could neither be finished nor put
// on the retry ladder: closing its channel gives them back.
var errGiveBack = errors.New("dependency away for too long, deliveries given back")

// errStuck ends a stage with as many steps left behind as it has places.
var errStuck = errors.New("steps hang, the process must be started anew")

// handler does one delivery. work is the context of the work, which is finished
// even while the stage drains; round ends when the consumer stops, and ends what
// merely waits.
type handler func(work, round context.Context, dv broker.Delivery) error

// worker is one stage at work.
type worker struct {
	deps  Deps
	queue string

	messages *telemetry.Counter
	duration *telemetry.Histogram
	wait     *telemetry.Histogram
	attempts *telemetry.Histogram
	inHand   *telemetry.Gauge
	left     atomic.Int64 // tries that were left behind at their deadline and still run
}

func newWorker(d Deps, queue string) *worker {
	d.Concurrency = max(d.Concurrency, 1)
	d.Deadline, d.GiveBack = cmp.Or(d.Deadline, DefaultDeadline), cmp.Or(d.GiveBack, DefaultGiveBack)
	if d.Now == nil {
		d.Now = time.Now
	}
	d.Work = cmp.Or(d.Work, queue)
	buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	w := &worker{
		deps: d, queue: queue,
		messages: d.Metrics.Counter("stage_messages_total", "Messages that a stage finished, by queue and outcome.", "queue", "outcome"),
		duration: d.Metrics.Histogram("stage_duration_seconds", "Duration of one attempt of a stage, by queue.", buckets, "queue"),
		wait:     d.Metrics.Histogram("stage_queue_wait_seconds", "Time from the creation of a message to its first attempt, by queue.", buckets, "queue"),
		attempts: d.Metrics.Histogram("stage_attempts", "Number of attempts until a stage finished a message, by queue.", []float64{1, 2, 3, 4, pipeline.MaxAttempts}, "queue"),
		inHand:   d.Metrics.Gauge("stage_in_hand", "Messages in flight in a stage, by queue, including those that wait for an unavailable dependency.", "queue"),
	}
	d.Metrics.Gauge("stage_concurrency", "Maximum number of messages in flight in a stage, by queue, without the one from the quarantine queue.", "queue").Set(float64(d.Concurrency), queue)
	w.inHand.Add(0, queue)
	for _, outcome := range outcomes { // an alert sees the first one only when it grows from 0, and a dashboard tells none from nobody knows
		w.messages.Add(0, queue, outcome)
	}
	return w
}

// outcomes are the labels of what can go wrong with a message, and of what goes right.
var outcomes = [...]string{"done", "failed", "retried", "suspected", "given_back", "left_behind", "malformed", "unknown_version", "dead"}

func (w *worker) count(outcome string) { w.messages.Inc(w.queue, outcome) }

// consume reads the queue until ctx ends, through any number of outages.
func (w *worker) consume(ctx context.Context, queue string, prefetch int, handle handler) error {
	for {
		round, giveBack := context.WithCancelCause(ctx)
		err := w.deps.Broker.Consume(round, queue, prefetch, func(work context.Context, dv broker.Delivery) error {
			if w.left.Load() >= int64(w.deps.Concurrency) {
				return errStuck
			}
			w.inHand.Add(1, w.queue)
			defer w.inHand.Add(-1, w.queue)
			err := handle(work, round, dv)
			if err != nil {
				giveBack(err)
			}
			return err
		})
		giveBack(nil)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, errGiveBack):
			return fmt.Errorf("consume %s: %w", queue, err)
		}
		w.deps.Log.WarnContext(ctx, "deliveries given back", "queue", queue)
		if !w.awaitReady(ctx) {
			return nil
		}
	}
}

// awaitReady returns when everything the stage needs is there, or false when ctx
// ends first.
func (w *worker) awaitReady(ctx context.Context) bool {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		if err := w.deps.Broker.Ready(); err != nil || w.deps.Ready == nil {
			return struct{}{}, err
		}
		return struct{}{}, w.deps.Ready(ctx)
	}, backoff.WithBackOff(NewBackOff()), backoff.WithMaxElapsedTime(0))
	return err == nil && ctx.Err() == nil
}

// NewBackOff returns the pauses between two tries at a dependency that is
// unavailable: with jitter, from about 50 ms up to 5 s, and without an end.
func NewBackOff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: 50 * time.Millisecond, Multiplier: 2,
		MaxInterval: 3300 * time.Millisecond, RandomizationFactor: 0.5, // the jitter adds up to a half
	}
}

// persist repeats do until it succeeds and returns nil. It returns an error when
// round ends, or when the next try would start after until. waits is called with the
// first error, before the first pause.
func persist(round context.Context, until time.Time, waits func(error), do func() error) error {
	var once sync.Once
	_, err := backoff.Retry(round, func() (struct{}, error) { return struct{}{}, do() },
		backoff.WithBackOff(NewBackOff()),
		backoff.WithMaxElapsedTime(max(time.Until(until), 1)), // 0 would be no limit
		backoff.WithNotify(func(err error, _ time.Duration) { once.Do(func() { waits(err) }) }))
	return err
}

// outcome is what is to happen before a delivery is acked.
type outcome struct {
	send       []letter
	label      string
	code, text string // why the image failed, for its trace
	away       error  // a dependency is away: do the step again
}

// receive decodes a delivery, does the step until it has an outcome, and carries
// that out.
func receive[In pipeline.Message](work, round context.Context, w *worker, dv broker.Delivery,
	handle func(ctx context.Context, body []byte, m In) outcome,
) error {
	until := time.Now().Add(w.deps.GiveBack)
	var m In
	err := json.Unmarshal(dv.Body, &m)
	h := m.Header()
	version, understood := h.Version, err == nil && h.Valid()
	if !understood {
		version = pipeline.VersionOf(dv.Body) // that of a newer release may look like anything else
	}
	switch {
	case version > pipeline.Version, version > 0 && version < pipeline.OldestVersion:
		w.deps.Log.WarnContext(work, "message version not known, message held for who knows it", "queue", w.queue, "version", version, "image", h)
		held := w.hold(h, dv.Body)
		if !h.Valid() {
			held.message.Headers = dv.Headers
		}
		return w.finish(work, round, dv, until, outcome{label: "unknown_version", send: []letter{held}})
	case version < 1 || !understood:
		w.deps.Log.ErrorContext(work, "message not understood", "queue", w.queue, "error", err, "bytes", len(dv.Body))
		return w.finish(work, round, dv, until, outcome{label: "malformed", send: []letter{{broker.DeadQueue(w.queue), broker.Message{Body: dv.Body}}}})
	}
	work, span := begin(work, w, h)
	defer span.End()
	failpoint.Reach(w.queue+" delivered", string(h.TraceID))
	if h.Attempt == 1 {
		w.wait.Observe(max(0, w.deps.Now().Sub(h.Timestamp).Seconds()), w.queue)
	}
	var o outcome
	err = persist(round, until, func(err error) {
		w.deps.Log.WarnContext(work, "waiting for a dependency", "queue", w.queue, "image", h, "error", err)
		span.Event("waiting for a dependency")
	}, func() error {
		o = handle(work, dv.Body, m)
		return o.away
	})
	switch {
	case err != nil && round.Err() != nil:
		span.Fail("interrupted", "")
		return nil // not acked: it goes back, and another worker has it
	case err != nil:
		o = outcome{label: "given_back", send: []letter{w.hold(h, dv.Body)}, code: "unavailable"}
	case o.label != "retried":
		w.attempts.Observe(float64(h.Attempt), w.queue)
	}
	tell(span, o)
	return w.finish(work, round, dv, until, o)
}

// finish publishes what the outcome asks for, until the broker has it, and acks.
func (w *worker) finish(work, round context.Context, dv broker.Delivery, until time.Time, o outcome) error {
	carryOn(dv, o.send)
	err := persist(round, until, func(err error) {
		w.deps.Log.WarnContext(work, "waiting for the broker", "queue", o.send[0].queue, "error", err)
	}, func() error {
		for ; len(o.send) > 0; o.send = o.send[1:] {
			if err := w.deps.Broker.Publish(work, o.send[0].queue, o.send[0].message); err != nil {
				return err
			}
		}
		return nil
	})
	switch {
	case err != nil && round.Err() != nil:
		return nil
	case err != nil:
		return errGiveBack
	}
	failpoint.Reach(w.queue+" published", o.label)
	w.count(o.label)
	if err := dv.Ack(); err != nil {
		// The session is over: the message comes again and is done again.
		w.deps.Log.DebugContext(work, "ack dropped", "queue", w.queue, "error", err)
	}
	failpoint.Reach(w.queue+" acked", o.label)
	return nil
}

// emit is the outcome of a step that gave a message.
func emit[M pipeline.Message](w *worker, q pipeline.Queue[M], m M) outcome {
	l, err := compose(q.Name, m)
	if err != nil {
		// A step bounds what it returns, so this is a fault of the code that no
		// retry mends.
		return w.end(m.Header(), &pipeline.Failure{Code: pipeline.CodeProcessingFailed, Text: textFailed, Err: err})
	}
	return outcome{send: []letter{l}, label: "done"}
}

// textFailed is what a client reads when the fault is ours.
const textFailed = "Image could not be processed"

// end is the outcome that ends an image with a failed Result.
func (w *worker) end(h pipeline.Envelope, f *pipeline.Failure) outcome {
	l, err := compose(pipeline.ImageProcessed.Name, f.Result(h, w.deps.Now()))
	if err != nil {
		return outcome{away: err}
	}
	return outcome{send: []letter{l}, label: "failed", code: f.Code, text: f.Text}
}

// failed is the outcome of a step that returned an error.
func (w *worker) failed(ctx context.Context, h pipeline.Envelope, body []byte, err error) outcome {
	if f, ok := errors.AsType[*pipeline.Failure](err); ok {
		w.deps.Log.InfoContext(ctx, "image failed", "queue", w.queue, "image", h, "error", f)
		return w.end(h, f)
	}
	if unavailable(err) {
		return outcome{away: err}
	}
	if h.Attempt < pipeline.MaxAttempts {
		w.deps.Log.WarnContext(ctx, "step went wrong and is tried again", "queue", w.queue, "image", h, "error", err)
		return outcome{send: []letter{w.later(h, withAttempt(body, h.Attempt+1), h.Attempt)}, label: "retried", code: "retried"}
	}
	w.deps.Log.ErrorContext(ctx, "step went wrong for the last time", "queue", w.queue, "image", h, "error", err)
	o := w.end(h, &pipeline.Failure{Code: pipeline.CodeProcessingFailed, Text: textFailed, Retryable: true, Err: err})
	o.label = "dead"
	o.send = append(o.send, letter{broker.DeadQueue(w.queue), broker.Message{Body: body, Headers: traceHeaders(h.TraceID)}})
	return o
}

// later addresses a message to the step of the retry ladder for the attempt that
// has just failed.
func (w *worker) later(h pipeline.Envelope, body []byte, attempt int) letter {
	delay := broker.RetryDelays[min(max(attempt, 1), len(broker.RetryDelays))-1]
	return letter{broker.RetryQueue(w.queue, delay), broker.Message{Body: body, Headers: traceHeaders(h.TraceID)}}
}

// hold puts a message off by the longest delay, as it is.
func (w *worker) hold(h pipeline.Envelope, body []byte) letter {
	return w.later(h, body, len(broker.RetryDelays))
}

// withAttempt returns the message with another attempt, keeping members that
// this version does not know.
func withAttempt(body []byte, attempt int) []byte {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return body
	}
	members["attempt"] = strconv.AppendInt(nil, int64(attempt), 10)
	changed, err := json.Marshal(members)
	if err != nil {
		return body
	}
	return changed
}

// try runs the step once, under its deadline and with panics caught. A step that
// heeds no context is left behind when its deadline is well past; it is counted
// until it returns, and as many as the stage has places end the stage.
func try[In pipeline.Message, Out any](ctx context.Context, w *worker, m In, do func(context.Context, In) (Out, error)) (Out, error) {
	type answer struct {
		out Out
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, w.deps.Deadline)
	defer cancel()
	began := time.Now()
	defer func() { w.duration.Observe(time.Since(began).Seconds(), w.queue) }()
	answers := make(chan answer, 1)
	var left atomic.Bool // set by whoever of the two is later
	go func() {
		var a answer
		defer func() {
			if p := recover(); p != nil {
				a.err = fmt.Errorf("panic: %v\n%s", p, bytes.TrimSpace(debug.Stack()))
			}
			if left.Swap(true) {
				w.left.Add(-1)
			}
			answers <- a
		}()
		a.out, a.err = do(ctx, m)
	}()
	past := time.NewTimer(w.deps.Deadline + grace)
	defer past.Stop()
	select {
	case a := <-answers:
		return a.out, a.err
	case <-past.C:
		if w.left.Add(1); left.Swap(true) {
			w.left.Add(-1) // it came in this very moment
		}
		w.count("left_behind")
		return *new(Out), fmt.Errorf("no answer within %s", w.deps.Deadline)
	}
}

// grace is what a step gets after its deadline to heed it.
const grace = 5 * time.Second
