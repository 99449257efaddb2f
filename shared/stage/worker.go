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

// errReturned ends a consumer whose deliveries could be neither finished nor published
// to a retry queue. Closing its channel returns them to the queue.
var errReturned = errors.New("dependency unavailable for too long; deliveries returned to the queue")

// errStuck ends a stage when as many steps hang as the stage has slots.
var errStuck = errors.New("steps hang; the process must be restarted")

// handler processes one delivery. work is the context of the work, which finishes even
// while the stage drains. round ends when the consumer stops, and ends pure waiting.
type handler func(work, round context.Context, dv broker.Delivery) error

// worker runs one stage.
type worker struct {
	deps  Deps
	queue string

	messages   *telemetry.Counter
	duration   *telemetry.Histogram
	wait       *telemetry.Histogram
	attempts   *telemetry.Histogram
	inFlight   *telemetry.Gauge
	leftBehind atomic.Int64 // tries that exceeded their deadline and still run
}

func newWorker(d Deps, queue string) *worker {
	d.Concurrency = max(d.Concurrency, 1)
	d.Deadline, d.ReturnAfter = cmp.Or(d.Deadline, DefaultDeadline), cmp.Or(d.ReturnAfter, DefaultReturnAfter)
	if d.Now == nil {
		d.Now = time.Now
	}
	d.Work = cmp.Or(d.Work, queue)
	buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	w := &worker{
		deps: d, queue: queue,
		messages: d.Metrics.Counter("stage_messages_total", "Messages that a stage has finished, by queue and outcome.", "queue", "outcome"),
		duration: d.Metrics.Histogram("stage_duration_seconds", "Time of one try of a stage's step, by queue.", buckets, "queue"),
		wait:     d.Metrics.Histogram("stage_queue_wait_seconds", "Time from the creation of a message to its first try, by queue.", append(buckets, 60, 300, 900, 3600), "queue"),
		attempts: d.Metrics.Histogram("stage_attempts", "Attempt in which a stage finished a message, by queue.", []float64{1, 2, 3, 4, pipeline.MaxAttempts}, "queue"),
		inFlight: d.Metrics.Gauge("stage_in_hand", "Messages in flight in a stage, by queue, including messages that wait for an unavailable dependency.", "queue"),
	}
	d.Metrics.Gauge("stage_concurrency", "Maximum number of messages in flight in a stage, by queue, without the one from the quarantine queue.", "queue").Set(float64(d.Concurrency), queue)
	w.inFlight.Add(0, queue)
	// Starting at 0 lets an alert see the first message of an outcome, and a dashboard distinguish 0 from unknown.
	for _, outcome := range outcomes {
		w.messages.Add(0, queue, outcome)
	}
	return w
}

// outcomes are all values of the label outcome.
var outcomes = [...]string{"done", "failed", "retried", "suspected", "given_back", "postponed", "left_behind", "malformed", "unknown_version", "dead"}

func (w *worker) count(outcome string) { w.messages.Inc(w.queue, outcome) }

// consume reads the queue until ctx ends, through any number of outages.
func (w *worker) consume(ctx context.Context, queue string, prefetch int, handle handler) error {
	for {
		round, endRound := context.WithCancelCause(ctx)
		err := w.deps.Broker.Consume(round, queue, prefetch, func(work context.Context, dv broker.Delivery) error {
			if w.leftBehind.Load() >= int64(w.deps.Concurrency) {
				return errStuck
			}
			w.inFlight.Add(1, w.queue)
			defer w.inFlight.Add(-1, w.queue)
			err := handle(work, round, dv)
			if err != nil {
				endRound(err)
			}
			return err
		})
		endRound(nil)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !errors.Is(err, errReturned):
			return fmt.Errorf("consume %s: %w", queue, err)
		}
		w.deps.Log.WarnContext(ctx, "deliveries returned to the queue", "queue", queue)
		if !w.awaitReady(ctx) {
			return nil
		}
	}
}

// awaitReady returns true when all dependencies of the stage are available, or false
// when ctx ends first.
func (w *worker) awaitReady(ctx context.Context) bool {
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		if err := w.deps.Broker.Ready(); err != nil || w.deps.Ready == nil {
			return struct{}{}, err
		}
		return struct{}{}, w.deps.Ready(ctx)
	}, backoff.WithBackOff(NewBackOff()), backoff.WithMaxElapsedTime(0))
	return err == nil && ctx.Err() == nil
}

// NewBackOff returns the backoff for an unavailable dependency: from about 50 ms up to
// 5 s, with jitter and without an end.
func NewBackOff() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: 50 * time.Millisecond, Multiplier: 2,
		MaxInterval: 3300 * time.Millisecond, RandomizationFactor: 0.5, // jitter adds up to half of the interval
	}
}

// persist repeats do until it succeeds and returns nil. It returns an error when
// round ends, or when the next try would start after until. waits is called with the
// first error, before the first pause.
func persist(round context.Context, until time.Time, waits func(error), do func() error) error {
	var once sync.Once
	_, err := backoff.Retry(round, func() (struct{}, error) { return struct{}{}, do() },
		backoff.WithBackOff(NewBackOff()),
		backoff.WithMaxElapsedTime(max(time.Until(until), 1)), // 0 would mean no limit
		backoff.WithNotify(func(err error, _ time.Duration) { once.Do(func() { waits(err) }) }))
	return err
}

// outcome describes what happens before a delivery is acked.
type outcome struct {
	send        []outgoing
	label       string
	code, text  string // cause of the image's failure, for its trace
	unavailable error  // error of an unavailable dependency; the step runs again
	later       *Later // the step needs another message later; nil if not
}

// receive decodes a delivery, runs the step until it has an outcome, and carries out
// the outcome.
func receive[In pipeline.Message](work, round context.Context, w *worker, dv broker.Delivery,
	handle func(ctx context.Context, body []byte, m In) outcome,
) error {
	until := time.Now().Add(w.deps.ReturnAfter)
	var m In
	err := json.Unmarshal(dv.Body, &m)
	h := m.Header()
	version, decoded := h.Version, err == nil && h.Valid()
	if !decoded {
		version = pipeline.VersionOf(dv.Body) // a message of a newer release may have another shape
	}
	switch {
	case version > pipeline.Version, version > 0 && version < pipeline.OldestVersion:
		w.deps.Log.WarnContext(work, "unsupported message version; parked on the retry queue", "queue", w.queue, "version", version, "image", h)
		parked := w.park(h, dv.Body)
		if !h.Valid() {
			parked.message.Headers = dv.Headers
		}
		return w.finish(work, round, dv, until, outcome{label: "unknown_version", send: []outgoing{parked}})
	case version < 1 || !decoded:
		w.deps.Log.ErrorContext(work, "cannot decode message", "queue", w.queue, "error", err, "bytes", len(dv.Body))
		return w.finish(work, round, dv, until, outcome{label: "malformed", send: []outgoing{{broker.DeadQueue(w.queue), broker.Message{Body: dv.Body}}}})
	}
	work, span := startSpan(work, w, h)
	defer span.End()
	failpoint.Reach(w.queue+" delivered", string(h.TraceID))
	if h.Attempt == 1 {
		w.wait.Observe(max(0, w.deps.Now().Sub(h.Timestamp).Seconds()), w.queue)
	}
	var o outcome
	body := dv.Body
	for again := true; again; {
		err = persist(round, until, func(err error) {
			w.deps.Log.WarnContext(work, "waiting for a dependency", "queue", w.queue, "image", h, "error", err)
			span.Event("waiting for a dependency")
		}, func() error {
			o = handle(work, body, m)
			return o.unavailable
		})
		if again = err == nil && o.later != nil; !again {
			break
		}
		span.Event("waiting")
		m, _ = o.later.Message.(In)
		if body, err = json.Marshal(m); err != nil || !m.Header().Valid() {
			return fmt.Errorf("step of %s: the message of a Later is not one of this queue: %w", w.queue, err)
		}
		again = w.hold(round, until, o.later)
	}
	switch {
	case err != nil && round.Err() != nil:
		span.Fail("interrupted", "")
		return nil // not acked: the message returns to the queue for another worker
	case err != nil:
		o = outcome{label: "given_back", send: []outgoing{w.park(h, body)}, code: "unavailable"}
	case o.later != nil:
		o = outcome{label: "postponed", send: []outgoing{w.delay(h, body, o.later.After-o.later.Hold)}}
	case o.label != "retried":
		w.attempts.Observe(float64(h.Attempt), w.queue)
	}
	recordOutcome(span, o)
	return w.finish(work, round, dv, until, o)
}

// hold keeps the slot of a delivery whose step needs it later, as long as the step chose, and
// reports whether the next try is due. The end of round ends the wait.
func (w *worker) hold(round context.Context, until time.Time, l *Later) bool {
	hold := max(0, min(l.After, l.Hold, time.Until(until)))
	timer := time.NewTimer(hold)
	defer timer.Stop()
	select {
	case <-timer.C:
		return hold == l.After && hold > 0
	case <-round.Done():
		return false
	}
}

// finish publishes the outgoing messages of the outcome, retrying until the broker
// confirms them, and acks.
func (w *worker) finish(work, round context.Context, dv broker.Delivery, until time.Time, o outcome) error {
	continueTrace(dv, o.send)
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
		return errReturned
	}
	failpoint.Reach(w.queue+" published", o.label)
	w.count(o.label)
	if err := dv.Ack(); err != nil {
		// The session is over: the message is delivered and processed again.
		w.deps.Log.DebugContext(work, "ack of an ended session dropped", "queue", w.queue, "error", err)
	}
	failpoint.Reach(w.queue+" acked", o.label)
	return nil
}

// emit returns the outcome of a step that returned a message.
func emit[M pipeline.Message](w *worker, q pipeline.Queue[M], m M) outcome {
	msg, err := compose(q.Name, m)
	if err != nil {
		// A step limits the size of its output, so this is a bug that no retry fixes.
		return w.end(m.Header(), &pipeline.Failure{Code: pipeline.CodeProcessingFailed, Text: textFailed, Err: err})
	}
	return outcome{send: []outgoing{msg}, label: "done"}
}

// textFailed is the error text for clients when the fault is ours.
const textFailed = "Image could not be processed"

// end returns the outcome that ends an image with a failed Result.
func (w *worker) end(h pipeline.Envelope, f *pipeline.Failure) outcome {
	msg, err := compose(pipeline.ImageProcessed.Name, f.Result(h, w.deps.Now()))
	if err != nil {
		return outcome{unavailable: err}
	}
	return outcome{send: []outgoing{msg}, label: "failed", code: f.Code, text: f.Text}
}

// failed returns the outcome of a step that returned an error.
func (w *worker) failed(ctx context.Context, h pipeline.Envelope, body []byte, err error) outcome {
	if f, ok := errors.AsType[*pipeline.Failure](err); ok && (!f.MayPass || h.Attempt >= pipeline.MaxAttempts) {
		w.deps.Log.InfoContext(ctx, "image failed", "queue", w.queue, "image", h, "error", f)
		return w.end(h, f)
	}
	if l, ok := errors.AsType[*Later](err); ok {
		w.deps.Log.DebugContext(ctx, "step needs the message later", "queue", w.queue, "image", h, "error", l.Err)
		return outcome{later: l}
	}
	if unavailable(err) {
		return outcome{unavailable: err}
	}
	if h.Attempt < pipeline.MaxAttempts {
		w.deps.Log.WarnContext(ctx, "step went wrong and is tried again", "queue", w.queue, "image", h, "error", err)
		return outcome{send: []outgoing{w.retry(h, withAttempt(body, h.Attempt+1), h.Attempt)}, label: "retried", code: "retried"}
	}
	w.deps.Log.ErrorContext(ctx, "step went wrong for the last time", "queue", w.queue, "image", h, "error", err)
	o := w.end(h, &pipeline.Failure{Code: pipeline.CodeProcessingFailed, Text: textFailed, Retryable: true, Err: err})
	o.label = "dead"
	o.send = append(o.send, outgoing{broker.DeadQueue(w.queue), broker.Message{Body: body, Headers: traceHeaders(h.TraceID)}})
	return o
}

// retry returns the message, addressed to the retry queue for the attempt that has just
// failed.
func (w *worker) retry(h pipeline.Envelope, body []byte, attempt int) outgoing {
	delay := broker.RetryDelays[min(max(attempt, 1), len(broker.RetryDelays))-1]
	return outgoing{broker.RetryQueue(w.queue, delay), broker.Message{Body: body, Headers: traceHeaders(h.TraceID)}}
}

// park returns the message, addressed to the retry queue with the longest delay.
func (w *worker) park(h pipeline.Envelope, body []byte) outgoing {
	return w.retry(h, body, len(broker.RetryDelays))
}

// delay returns the message, addressed to the retry queue with the shortest delay that is not
// below after, or else with the longest one.
func (w *worker) delay(h pipeline.Envelope, body []byte, after time.Duration) outgoing {
	attempt := 1
	for attempt < len(broker.RetryDelays) && broker.RetryDelays[attempt-1] < after {
		attempt++
	}
	return w.retry(h, body, attempt)
}

// withAttempt returns the message with another attempt. It keeps members that this
// version does not know.
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

// try runs the step once, with its deadline, and recovers panics. A step that ignores
// its context is left behind when grace has passed after the deadline. It is counted
// until it returns; when as many are left behind as the stage has slots, the stage
// ends.
func try[In pipeline.Message, Out any](ctx context.Context, w *worker, m In, do func(context.Context, In) (Out, error)) (Out, error) {
	type result struct {
		out Out
		err error
	}
	ctx, cancel := context.WithTimeout(ctx, w.deps.Deadline)
	defer cancel()
	start := time.Now()
	defer func() { w.duration.Observe(time.Since(start).Seconds(), w.queue) }()
	results := make(chan result, 1)
	var over atomic.Bool // set first by the step or the timer; the second one corrects the count
	go func() {
		var r result
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("panic: %v\n%s", p, bytes.TrimSpace(debug.Stack()))
			}
			if over.Swap(true) {
				w.leftBehind.Add(-1)
			}
			results <- r
		}()
		r.out, r.err = do(ctx, m)
	}()
	past := time.NewTimer(w.deps.Deadline + grace)
	defer past.Stop()
	select {
	case r := <-results:
		return r.out, r.err
	case <-past.C:
		if w.leftBehind.Add(1); over.Swap(true) {
			w.leftBehind.Add(-1) // the step returned at the same moment
		}
		w.count("left_behind")
		return *new(Out), fmt.Errorf("no result within %s", w.deps.Deadline)
	}
}

// grace is the time that a step gets after its deadline to return.
const grace = 5 * time.Second
