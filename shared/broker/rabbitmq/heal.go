package rabbitmq

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// responseTimeout limits a request to a queue that may be unresponsive.
const responseTimeout = 5 * time.Second

// minRounds is the minimum number of checks, of whatever duration, that must find a
// queue unresponsive before it is deleted.
const minRounds = 4

// healer finds queues that do not respond although the broker does, and has them
// deleted and declared again.
//
// A quorum queue can lose its leader permanently: RabbitMQ 3.10 records the owner of
// each replica in a file that it flushes only now and then, and a broker that is killed
// before the flush starts the queue again without an election. Declaring such a queue
// succeeds and its depth is reported as 0, but consuming from it or publishing to it
// blocks forever. Deleting it works: after 5 s the broker forces it.
//
// Deleting a work queue loses no work, because the routine then finds the queue missing
// and runs the hook. The messages of dead-letter queues are never sent again, so the
// healer only reports those queues. Without the permission to declare, it only reports
// all queues.
type healer struct {
	timeout    time.Duration // Config.UnresponsiveAfter
	declare    bool
	specs      []broker.QueueSpec
	urls       []string
	dialing    *link // used only to dial
	publishing *link
	consuming  *link
	routine    *routine
	log        *slog.Logger
	redeclared *telemetry.Counter
	gauge      *telemetry.Gauge

	unresponsive map[string]*unresponsiveQueue
}

// unresponsiveQueue is a queue that did not respond to the last check.
type unresponsiveQueue struct {
	since    time.Time
	rounds   int
	reported bool // whether an operator's action was requested
}

func newHealer(config Config, b *Broker, log *slog.Logger, closed <-chan struct{}) *healer {
	registry := config.Metrics
	if registry == nil {
		registry = telemetry.NewRegistry()
	}
	return &healer{
		timeout: config.UnresponsiveAfter, declare: config.Declare, specs: b.routine.specs, urls: config.URLs,
		dialing: newLink("health check", config, log, closed), publishing: b.publishing, consuming: b.consuming,
		routine: b.routine, log: log,
		redeclared:   registry.Counter("queues_made_anew_total", "Unresponsive queues that were deleted and declared again, by queue.", "queue"),
		gauge:        registry.Gauge("silent_queues", "Queues that did not respond to the last check although the broker did."),
		unresponsive: map[string]*unresponsiveQueue{},
	}
}

// run checks all queues, eight times per timeout, until ctx ends.
func (h *healer) run(ctx context.Context) {
	for node := 0; ; node++ {
		select {
		case <-time.After(h.timeout / 8):
		case <-ctx.Done():
			return
		}
		if !h.routine.used.Load() {
			continue
		}
		url := h.urls[node%len(h.urls)]
		unresponsive, err := h.check(ctx, url)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			// If the broker is unavailable, busy or blocked, the check says nothing about single queues.
			clear(h.unresponsive)
			h.report(ctx, err)
		default:
			h.consuming.note(checkNote, nil)
			h.evaluate(ctx, url, unresponsive)
		}
		h.gauge.Set(float64(len(h.unresponsive)))
	}
}

// checkNote is the source of the note for Ready that the user may not check queues.
const checkNote = "health check of queues"

// report logs why a check failed. A missing permission is for an operator to grant: it
// is logged as a warning once and noted for Ready.
func (h *healer) report(ctx context.Context, err error) {
	_, denied := refused(err)
	if denied && h.consuming.noted(checkNote) == nil {
		h.log.WarnContext(ctx, "queue health check failed", "error", err)
	} else {
		h.log.DebugContext(ctx, "queue health check failed", "error", err)
	}
	if denied {
		h.consuming.note(checkNote, err)
	}
}

// evaluate updates the state of all queues with the result of one check.
func (h *healer) evaluate(ctx context.Context, url string, unresponsive map[string]bool) {
	for _, spec := range h.specs {
		q := h.unresponsive[spec.Name]
		switch {
		case !unresponsive[spec.Name]:
			if q != nil {
				h.log.InfoContext(ctx, "queue responds again", "queue", spec.Name)
			}
			delete(h.unresponsive, spec.Name)
			h.consuming.note(queueNote(spec.Name), nil)
			continue
		case q == nil:
			q = &unresponsiveQueue{since: time.Now()}
			h.unresponsive[spec.Name] = q
			h.log.WarnContext(ctx, "queue does not respond although the broker does", "queue", spec.Name)
		}
		if q.rounds++; q.rounds >= minRounds && time.Since(q.since) >= h.timeout {
			h.heal(ctx, url, spec, q)
		}
	}
}

func queueNote(queue string) string { return "queue " + queue }

// heal deletes an unresponsive queue, and the routine declares it again. If two
// gateways both do so, the images are sent once more.
func (h *healer) heal(ctx context.Context, url string, spec broker.QueueSpec, q *unresponsiveQueue) {
	if spec.Name == broker.DeadQueue(spec.Work) {
		if !q.reported {
			q.reported = true
			h.log.ErrorContext(ctx, "dead-letter queue does not respond; delete it and restart the gateway", "queue", spec.Name,
				"command", h.command(spec.Name))
		}
		return
	}
	if !h.declare {
		h.leave(ctx, spec.Name, q, errors.New("no response, and this service may not declare queues"), h.command(spec.Name)+", and declare it again")
		return
	}
	h.log.WarnContext(ctx, "deleting unresponsive queue to declare it again", "queue", spec.Name, "unresponsive_since", q.since)
	err := h.remove(ctx, url, spec.Name)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		h.leave(ctx, spec.Name, q, fmt.Errorf("no response, and cannot be deleted: %w", err), h.command(spec.Name))
		return
	}
	delete(h.unresponsive, spec.Name)
	h.consuming.note(queueNote(spec.Name), nil)
	h.redeclared.Add(1, spec.Name)
	h.routine.checkNow()
}

// leave leaves an unresponsive queue to an operator, and reports what to do.
func (h *healer) leave(ctx context.Context, queue string, q *unresponsiveQueue, err error, remedy string) {
	err = fmt.Errorf("%w; an operator must run %s", err, remedy)
	h.consuming.note(queueNote(queue), err)
	if !q.reported {
		q.reported = true
		h.log.ErrorContext(ctx, "unresponsive queue not deleted", "queue", queue, "error", err)
	}
}

// command returns the command with which an operator deletes the queue.
func (h *healer) command(queue string) string {
	vhost := "/"
	if uri, err := amqp.ParseURI(h.urls[0]); err == nil {
		vhost = uri.Vhost
	}
	return fmt.Sprintf("rabbitmqctl delete_queue --vhost %s %s", vhost, queue)
}

// remove deletes the queue, on a new connection.
func (h *healer) remove(ctx context.Context, url, queue string) error {
	s, release, err := h.dial(ctx, url)
	if err != nil {
		return err
	}
	defer release()
	v := &survey{session: s}
	defer v.close()
	return v.remove(queue)
}

// check sends a request to each queue and returns the unresponsive ones. An error means
// that the check proves nothing. If any queue is unresponsive, a new control queue must
// respond, to show that the broker works: there may be no other responsive queue. If
// this service may not declare queues, another queue must have responded.
func (h *healer) check(ctx context.Context, url string) (unresponsive map[string]bool, err error) {
	anyResponded := false
	unresponsive = map[string]bool{}
	var s *session
	release := func() {}
	defer func() { release() }()
	for _, spec := range h.specs {
		if s == nil {
			if s, release, err = h.dial(ctx, url); err != nil {
				return nil, err
			}
		}
		checked, responded, err := h.responds(s, spec.Name)
		if err != nil {
			return nil, err
		}
		anyResponded = anyResponded || checked && responded
		if checked && !responded {
			unresponsive[spec.Name] = true
			s.kill() // the waiting channel is no longer usable
			release()
			s, release = nil, func() {}
		}
	}
	if len(unresponsive) == 0 {
		return unresponsive, nil
	}
	if err := h.blocked(); err != nil {
		return nil, err
	}
	if !h.declare {
		if !anyResponded {
			return nil, errors.New("no other queue responds either")
		}
		return unresponsive, nil
	}
	release()
	if s, release, err = h.dial(ctx, url); err != nil {
		return nil, err
	}
	return unresponsive, h.control(s)
}

// control declares a queue, verifies that it responds, and deletes it.
func (h *healer) control(s *session) error {
	name := "imagebatch.control." + rand.Text()
	v := &survey{session: s}
	defer v.close()
	// A queue that is left behind expires.
	if err := v.declare(name, amqp.Table{"x-queue-type": "quorum", "x-expires": time.Minute.Milliseconds()}); err != nil {
		return err
	}
	_, responded, err := h.responds(s, name)
	if err != nil {
		return err
	}
	if !responded {
		return errors.New("a new queue does not respond either")
	}
	return v.remove(name)
}

// blocked returns an error if the broker blocks publishers, and thus has other
// problems.
func (h *healer) blocked() error {
	h.publishing.mu.Lock()
	defer h.publishing.mu.Unlock()
	if h.publishing.session == nil {
		return nil // an unresponsive queue repeatedly breaks this connection
	}
	return h.publishing.session.publisher.blockage()
}

// dial opens a connection that ends with ctx, or when it is released.
func (h *healer) dial(ctx context.Context, url string) (*session, func(), error) {
	s, _, err := h.dialing.connect(ctx, url)
	if err != nil {
		return nil, func() {}, err
	}
	stop := context.AfterFunc(ctx, s.kill)
	return s, func() {
		stop()
		s.close()
	}, nil
}

// responds sends one queue a request that only its leader can respond to: to get a
// message from the empty queue. A queue with waiting messages is not checked, since it
// would deliver one; neither is a missing queue. If a message is returned all the same,
// it goes back to the queue when the channel closes.
func (h *healer) responds(s *session, queue string) (checked, responded bool, err error) {
	v := &survey{session: s}
	found, ready, err := v.depth(queue)
	defer v.close()
	if err != nil || !found || ready > 0 {
		return false, false, err
	}
	ch, err := s.channel()
	if err != nil {
		return false, false, err
	}
	start, limit := time.Now(), min(responseTimeout, h.timeout/4)
	stop := s.within(limit)
	_, _, err = ch.Get(queue, false)
	stop()
	if refusal, ok := errors.AsType[*amqp.Error](err); ok && refusal.Server {
		if refusal.Code == amqp.InternalError {
			return true, false, nil // the broker got no response from the leader
		}
		return true, false, fmt.Errorf("check queue %s: %w", queue, lacksToConsume(err))
	}
	switch {
	case err == nil:
		s.closeChannel(ch)
		return true, true, nil
	case time.Since(start) >= limit:
		return true, false, nil
	}
	return true, false, fmt.Errorf("check queue %s: %w", queue, err)
}
