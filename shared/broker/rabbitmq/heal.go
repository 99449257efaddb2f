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

// answerTimeout bounds one question to a queue of which nothing is known yet.
const answerTimeout = 5 * time.Second

// fewestRounds must have found a queue silent, however long they took.
const fewestRounds = 4

// healer finds a queue that answers nothing while the broker serves others, and
// has it made anew.
//
// A quorum queue can lose its leader for good: RabbitMQ 3.10 notes which replica
// is whose in a file that it flushes now and then, and a broker that is killed
// before that starts the queue again without an election. Declaring such a queue
// succeeds, its depth is told as 0, and whoever consumes from it or publishes to
// it waits for ever. Deleting it works: after 5 s the broker does it by force.
//
// Deleting loses nothing because the routine then misses the queue, and the hook is
// told. The dead queues hold what nobody sends again: of them it only tells, and of
// all queues where it may not declare.
type healer struct {
	silence    time.Duration
	declare    bool
	specs      []broker.QueueSpec
	urls       []string
	dialing    *link // never run, only dialled by
	publishing *link
	consuming  *link
	routine    *routine
	log        *slog.Logger
	made       *telemetry.Counter
	mute       *telemetry.Gauge

	silent map[string]*silentQueue
}

// silentQueue is one that did not answer when it was asked last.
type silentQueue struct {
	since  time.Time
	rounds int
	told   bool // that only an operator can do something about it
}

func newHealer(config Config, b *Broker, log *slog.Logger, closed <-chan struct{}) *healer {
	registry := config.Metrics
	if registry == nil {
		registry = telemetry.NewRegistry()
	}
	return &healer{
		silence: config.Silence, declare: config.Declare, specs: b.routine.specs, urls: config.URLs,
		dialing: newLink("asking", config, log, closed), publishing: b.publishing, consuming: b.consuming,
		routine: b.routine, log: log,
		made:   registry.Counter("queues_made_anew_total", "Unresponsive queues that were deleted and declared again, by queue.", "queue"),
		mute:   registry.Gauge("silent_queues", "Queues that did not respond to the last check, while the broker served others."),
		silent: map[string]*silentQueue{},
	}
}

// run asks all queues, eight times in the time that a queue may be silent, until
// ctx ends.
func (h *healer) run(ctx context.Context) {
	for node := 0; ; node++ {
		select {
		case <-time.After(h.silence / 8):
		case <-ctx.Done():
			return
		}
		if !h.routine.used.Load() {
			continue
		}
		url := h.urls[node%len(h.urls)]
		silent, err := h.ask(ctx, url)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			// A broker that is away, busy or blocked proves nothing against one queue.
			clear(h.silent)
			h.tell(ctx, err)
		default:
			h.consuming.note(watchNote, nil)
			h.judge(ctx, url, silent)
		}
		h.mute.Set(float64(len(h.silent)))
	}
}

// watchNote is under what name Ready tells that the user may not ask.
const watchNote = "look for silent queues"

// tell tells why a round came to nothing. What the user may not do is an operator's
// matter, and told once.
func (h *healer) tell(ctx context.Context, err error) {
	_, denied := refused(err)
	if denied && h.consuming.noted(watchNote) == nil {
		h.log.WarnContext(ctx, "queues not asked", "error", err)
	} else {
		h.log.DebugContext(ctx, "queues not asked", "error", err)
	}
	if denied {
		h.consuming.note(watchNote, err)
	}
}

// judge takes in what one round has found.
func (h *healer) judge(ctx context.Context, url string, silent map[string]bool) {
	for _, spec := range h.specs {
		q := h.silent[spec.Name]
		switch {
		case !silent[spec.Name]:
			if q != nil {
				h.log.InfoContext(ctx, "queue answers again", "queue", spec.Name)
			}
			delete(h.silent, spec.Name)
			h.consuming.note(silenceNote(spec.Name), nil)
			continue
		case q == nil:
			q = &silentQueue{since: time.Now()}
			h.silent[spec.Name] = q
			h.log.WarnContext(ctx, "queue answers nothing while the broker serves others", "queue", spec.Name)
		}
		if q.rounds++; q.rounds >= fewestRounds && time.Since(q.since) >= h.silence {
			h.heal(ctx, url, spec, q)
		}
	}
}

func silenceNote(queue string) string { return "queue " + queue }

// heal deletes a silent queue; the routine declares it. Of two gateways both may
// do so, and the images are sent once more then.
func (h *healer) heal(ctx context.Context, url string, spec broker.QueueSpec, q *silentQueue) {
	if spec.Name == broker.DeadQueue(spec.Work) {
		if !q.told {
			q.told = true
			h.log.ErrorContext(ctx, "dead queue answers nothing and is kept for an operator", "queue", spec.Name,
				"then_restart_the_gateway", h.command(spec.Name))
		}
		return
	}
	if !h.declare {
		h.leave(ctx, spec.Name, q, errors.New("it answers nothing, and this service may not declare queues"), h.command(spec.Name)+", and declare it as before")
		return
	}
	h.log.WarnContext(ctx, "queue is deleted to be made anew", "queue", spec.Name, "silent_since", q.since)
	err := h.remove(ctx, url, spec.Name)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		h.leave(ctx, spec.Name, q, fmt.Errorf("it answers nothing and can't be deleted: %w", err), h.command(spec.Name))
		return
	}
	delete(h.silent, spec.Name)
	h.consuming.note(silenceNote(spec.Name), nil)
	h.made.Add(1, spec.Name)
	h.routine.hurry()
}

// leave leaves a silent queue to an operator, and says what is to be done.
func (h *healer) leave(ctx context.Context, queue string, q *silentQueue, err error, remedy string) {
	err = fmt.Errorf("%w; to be done by an operator: %s", err, remedy)
	h.consuming.note(silenceNote(queue), err)
	if !q.told {
		q.told = true
		h.log.ErrorContext(ctx, "silent queue not deleted", "queue", queue, "error", err)
	}
}

// command is what an operator does about a queue.
func (h *healer) command(queue string) string {
	vhost := "/"
	if uri, err := amqp.ParseURI(h.urls[0]); err == nil {
		vhost = uri.Vhost
	}
	return fmt.Sprintf("rabbitmqctl delete_queue --vhost %s %s", vhost, queue)
}

// remove deletes the queue on a connection of its own.
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

// ask asks each queue and gives those that did not answer. An error says that the
// round proves nothing. When any is silent, a new queue that must answer shows that
// it is not the broker: there may be no other that does. Where no queue can be made,
// one of the others has to have answered.
func (h *healer) ask(ctx context.Context, url string) (silent map[string]bool, err error) {
	spoke := false
	silent = map[string]bool{}
	var s *session
	release := func() {}
	defer func() { release() }()
	for _, spec := range h.specs {
		if s == nil {
			if s, release, err = h.dial(ctx, url); err != nil {
				return nil, err
			}
		}
		asked, answered, err := h.answers(s, spec.Name)
		if err != nil {
			return nil, err
		}
		spoke = spoke || asked && answered
		if asked && !answered {
			silent[spec.Name] = true
			s.kill() // the channel that waits is of no more use
			release()
			s, release = nil, func() {}
		}
	}
	if len(silent) == 0 {
		return silent, nil
	}
	if err := h.blocked(); err != nil {
		return nil, err
	}
	if !h.declare {
		if !spoke {
			return nil, errors.New("no other queue answers either")
		}
		return silent, nil
	}
	release()
	if s, release, err = h.dial(ctx, url); err != nil {
		return nil, err
	}
	return silent, h.control(s)
}

// control makes a queue, asks it, and deletes it.
func (h *healer) control(s *session) error {
	name := "imagebatch.control." + rand.Text()
	v := &survey{session: s}
	defer v.close()
	// One that is left behind goes by itself.
	if err := v.declare(name, amqp.Table{"x-queue-type": "quorum", "x-expires": time.Minute.Milliseconds()}); err != nil {
		return err
	}
	_, answered, err := h.answers(s, name)
	if err != nil {
		return err
	}
	if !answered {
		return errors.New("a new queue answers nothing either")
	}
	return v.remove(name)
}

// blocked says that the broker blocks publishers: it is not well.
func (h *healer) blocked() error {
	h.publishing.mu.Lock()
	defer h.publishing.mu.Unlock()
	if h.publishing.session == nil {
		return nil // a silent queue costs this connection again and again
	}
	return h.publishing.session.publisher.blockage()
}

// dial makes a connection that ends with ctx, or when it is released.
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

// answers asks one queue something that only its leader can answer: for a
// message, where none waits. One that tells of waiting messages is left in peace,
// since it would give one out, and so is one that is not there: they count as not
// asked. A message that comes all the same goes back with its channel.
func (h *healer) answers(s *session, queue string) (asked, answered bool, err error) {
	v := &survey{session: s}
	found, ready, err := v.look(queue)
	defer v.close()
	if err != nil || !found || ready > 0 {
		return false, false, err
	}
	ch, err := s.channel()
	if err != nil {
		return false, false, err
	}
	began, bound := time.Now(), min(answerTimeout, h.silence/4)
	stop := s.within(bound)
	_, _, err = ch.Get(queue, false)
	stop()
	if refusal, ok := errors.AsType[*amqp.Error](err); ok && refusal.Server {
		if refusal.Code == amqp.InternalError {
			return true, false, nil // the broker has asked in vain
		}
		return true, false, fmt.Errorf("ask queue %s: %w", queue, lacksToConsume(err))
	}
	switch {
	case err == nil:
		s.closeChannel(ch)
		return true, true, nil
	case time.Since(began) >= bound:
		return true, false, nil
	}
	return true, false, fmt.Errorf("ask queue %s: %w", queue, err)
}
