package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// responseTimeout limits a request to a queue that may be silent.
const responseTimeout = 5 * time.Second

// prober finds silent queues: queues that do not respond although the broker does,
// because they have no leader. Declaring such a queue succeeds and its depth is
// reported as 0, but consuming from it or publishing to it blocks.
//
// A queue that responds through another node has a leader, and the node in use does not
// reach it: a node that a network failure has cut off from its cluster keeps its clients, from
// RabbitMQ 4.2 on. Then all connections move to the other node.
//
// Its connection is separate, because a request that a queue does not respond to can be
// given up only by ending the connection.
type prober struct {
	nodes   *nodes
	dialing *link // used only to dial
	timeout time.Duration
	moved   func(ctx context.Context, from string) // called after the node in use has changed

	// mu guards the fields below. It is held during a check.
	mu     sync.Mutex
	survey *survey // its session and channel; nil until the first check, and after an error
}

// check sends a request to each queue and returns the silent ones. An error means that
// the check proves nothing.
func (p *prober) check(ctx context.Context, specs []broker.QueueSpec) (silent map[string]bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	silent = map[string]bool{}
	for _, spec := range specs {
		node := p.nodes.current()
		responded, err := p.responds(ctx, node, spec.Name)
		if err == nil && responded {
			continue
		}
		p.end()
		if _, denied := refused(err); !denied && len(silent) == 0 && p.respondsElsewhere(ctx, spec.Name) {
			p.moved(ctx, node)
			return nil, fmt.Errorf("%s did not respond through the node in use, but through another", spec.Name)
		}
		if err != nil {
			return nil, err
		}
		silent[spec.Name] = true
	}
	return silent, nil
}

// respondsElsewhere reports whether the queue responds through another node, which it then
// makes the one in use. The caller holds mu.
func (p *prober) respondsElsewhere(ctx context.Context, queue string) bool {
	for _, node := range p.nodes.others() {
		if responded, err := p.responds(ctx, node, queue); err == nil && responded {
			p.nodes.use(node)
			return true
		}
		p.end()
	}
	return false
}

// responds sends a queue a request through the node to which only its leader can respond: to get a
// message from the empty queue. It sends none to a queue with waiting messages, since
// that would deliver one, or to a missing queue. The caller holds mu.
func (p *prober) responds(ctx context.Context, node, queue string) (bool, error) {
	if p.survey != nil && p.survey.session.url != node {
		p.end()
	}
	if p.survey == nil || p.survey.session.conn.IsClosed() {
		s, _, err := p.dialing.connect(ctx, node)
		if err != nil {
			return false, err
		}
		p.survey = &survey{session: s}
	}
	v := p.survey
	defer context.AfterFunc(ctx, v.session.kill)()
	found, ready, err := v.depth(queue)
	if err != nil || !found || ready > 0 {
		return true, err
	}
	start := time.Now()
	stop := v.session.within(p.timeout)
	_, got, err := v.ch.Get(queue, false)
	stop()
	refusal, ok := errors.AsType[*amqp.Error](err)
	switch {
	case err == nil:
		if got { // The message returns to the queue when the channel closes.
			v.close()
			v.ch = nil
		}
		return true, nil
	case ok && refusal.Server && refusal.Code == amqp.InternalError:
		return false, nil // the broker got no response from the leader
	case ok && refusal.Server:
		return true, fmt.Errorf("check queue %s: %w", queue, lacksToConsume(err))
	case time.Since(start) >= p.timeout && ctx.Err() == nil:
		return false, nil
	}
	return true, fmt.Errorf("check queue %s: %w", queue, err)
}

// end ends the session. The caller holds mu.
func (p *prober) end() {
	if p.survey != nil {
		p.survey.session.close()
		p.survey = nil
	}
}

// close ends the connection.
func (p *prober) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end()
}

// watch reports silent queues: in a metric after one check, and to the operator, by
// Ready and the log, after the time limit. It deletes no queue.
type watch struct {
	prober    *prober
	specs     []broker.QueueSpec
	routine   *routine
	consuming *link
	vhost     string
	timeout   time.Duration // Config.UnresponsiveAfter
	log       *slog.Logger
	gauge     *telemetry.Gauge

	since    map[string]time.Time // start of the silence, by queue
	reported map[string]bool      // silent queues that were reported to the operator
}

func newWatch(config Config, b *Broker, registry *telemetry.Registry) *watch {
	w := &watch{
		prober: b.prober, specs: b.routine.specs, routine: b.routine, consuming: b.consuming, vhost: "/",
		timeout: config.UnresponsiveAfter, log: b.log,
		gauge: registry.Gauge("silent_queues", "Queues that did not respond to the last check although the broker did."),
		since: map[string]time.Time{}, reported: map[string]bool{},
	}
	if uri, err := amqp.ParseURI(config.URLs[0]); err == nil {
		w.vhost = uri.Vhost
	}
	return w
}

// run checks all queues, eight times per timeout, until ctx ends.
func (w *watch) run(ctx context.Context) {
	for {
		select {
		case <-time.After(w.timeout / 8):
		case <-ctx.Done():
			return
		}
		if !w.routine.used.Load() {
			continue
		}
		silent, err := w.prober.check(ctx, w.specs)
		if ctx.Err() != nil {
			return
		}
		w.report(ctx, silent, err)
	}
}

// checkNote is the source of the note for Ready that the user may not check queues.
const checkNote = "health check of queues"

// report reports the result of one check. A failed check says nothing about single
// queues. A missing permission is for an operator to grant, so it is noted for Ready.
func (w *watch) report(ctx context.Context, silent map[string]bool, err error) {
	if err != nil {
		if _, denied := refused(err); denied {
			if w.consuming.noted(checkNote) == nil {
				w.log.WarnContext(ctx, "queue health check failed", "error", err)
			}
			w.consuming.note(checkNote, err)
		}
		w.log.DebugContext(ctx, "queue health check failed", "error", err)
	} else {
		w.consuming.note(checkNote, nil)
	}
	for _, spec := range w.specs {
		queue := spec.Name
		since, known := w.since[queue]
		switch {
		case !silent[queue]:
			if known && err == nil {
				w.log.InfoContext(ctx, "queue responds again", "queue", queue)
			}
			delete(w.since, queue)
			delete(w.reported, queue)
			w.consuming.note("queue "+queue, nil)
		case !known:
			w.since[queue] = time.Now()
			w.log.WarnContext(ctx, "queue does not respond although the broker does", "queue", queue)
		case time.Since(since) >= w.timeout && !w.reported[queue]:
			w.reported[queue] = true
			problem := fmt.Errorf("no response for %s although the broker responds; an operator must look at "+
				"rabbitmq-queues quorum_status --vhost %s %s", w.timeout, w.vhost, queue)
			w.consuming.note("queue "+queue, problem)
			w.log.ErrorContext(ctx, "queue has no leader", "queue", queue, "error", problem)
		}
	}
	w.gauge.Set(float64(len(w.since)))
}

// repairAfter is how long a queue of a fresh broker may be silent before it is declared
// again. A broker that was just started elects all leaders within a few seconds.
const repairAfter = 10 * time.Second

// repair deletes the silent queues of a fresh broker, so that the next pass declares
// them again, and returns an error as long as there are any.
//
// RabbitMQ 4.0 that is killed while it creates queues can start again with the newest
// two without a leader, permanently. Deleting them loses no work, because the marker is
// missing: the hook will send everything again. Dead letters are never sent again, so a
// queue that may have some is left to the operator, as are all queues of a broker with a
// marker.
func (r *routine) repair(ctx context.Context, v *survey) error {
	silent, err := r.prober.check(ctx, r.specs)
	if _, denied := refused(err); denied {
		return nil // the watch reports it
	} else if err != nil {
		return err
	}
	var waiting []string
	for _, spec := range r.specs {
		queue, kept := spec.Name, false
		if silent[queue] && queue == broker.DeadQueue(spec.Work) {
			if kept, err = v.hasExchange(queue); err != nil {
				return err
			}
		}
		switch since, known := r.silent[queue]; {
		case !silent[queue] || kept:
			delete(r.silent, queue)
			continue
		case !known:
			r.silent[queue] = time.Now()
		case time.Since(since) >= min(repairAfter, r.timeout):
			r.log.WarnContext(ctx, "queue of a fresh broker has no leader; declaring it again", "queue", queue)
			if err := v.remove(queue); err != nil {
				return err
			}
			r.redeclared.Add(1, queue)
			delete(r.silent, queue)
		}
		waiting = append(waiting, queue)
	}
	if len(waiting) > 0 {
		return fmt.Errorf("queues do not respond: %s", strings.Join(waiting, ", "))
	}
	return nil
}
