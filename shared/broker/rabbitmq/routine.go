package rabbitmq

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

const (
	// checkInterval is how long a deleted queue can stay unnoticed without a publish or
	// a consumer.
	checkInterval = 5 * time.Second
	// checkGap is the minimum time between two checks.
	checkGap = 250 * time.Millisecond
)

// routine runs at the start of every consuming session, and repeatedly during the
// session: it checks that all queues exist, declares them, and runs the hook.
//
// The order makes a crash harmless at any point. When a queue is missing, the marker is
// deleted first and declared last, after the hook, so that the next process still finds
// the broker fresh. Last also because a broker that is killed can lose the content or
// the leader of the queues that it created last: of the marker, both are irrelevant.
type routine struct {
	declare    bool
	watch      bool
	specs      []broker.QueueSpec
	added      []string // Config.AddedQueues
	link       *link    // the consuming link
	publishing *link
	prober     *prober
	timeout    time.Duration // Config.UnresponsiveAfter
	log        *slog.Logger
	wake       chan struct{}
	used       atomic.Bool
	redeclared *telemetry.Counter
	silent     map[string]time.Time // queues that repair waits for, by the start of their silence; used only by serve

	// mu guards the fields below. It may be held while locking the link's mu.
	mu         sync.Mutex
	marker     string
	owner      string // "" for none
	hook       func(ctx context.Context, fresh bool) error
	generation int  // number of hooks set so far
	lost       bool // whether a queue was missing and no hook has run since
}

func newRoutine(config Config, b *Broker, registry *telemetry.Registry) *routine {
	return &routine{
		declare: config.Declare, watch: config.Watch, specs: broker.Topology(config.WorkQueues...), added: config.AddedQueues, link: b.consuming, publishing: b.publishing, prober: b.prober,
		timeout: config.UnresponsiveAfter, log: b.log, wake: make(chan struct{}, 1), silent: map[string]time.Time{},
		redeclared: registry.Counter("queues_made_anew_total", "Queues of a fresh broker that had no leader and were declared again, by queue.", "queue"),
	}
}

// setHook closes the session for work before it returns, so that no message is consumed
// until the hook has run.
func (r *routine) setHook(marker, owner string, hook func(ctx context.Context, fresh bool) error) {
	r.mu.Lock()
	r.marker, r.owner, r.hook = marker, owner, hook
	r.generation++
	r.link.shut(stepError("session hook has not run yet"))
	r.mu.Unlock()
	r.use()
	r.checkNow()
}

// use allows the first run of the routine.
func (r *routine) use() {
	if !r.used.Load() && !r.used.Swap(true) {
		r.checkNow()
	}
}

// checkNow requests a check.
func (r *routine) checkNow() {
	select {
	case r.wake <- struct{}{}:
	default: // already requested
	}
}

// serve runs the routine until ctx, which ends with the session, ends.
func (r *routine) serve(ctx context.Context, s *session) error {
	pauses := newBackOff()
	settled := -1 // generation of the last hook that ran in this session
	for {
		next := time.After(checkInterval)
		wake := r.wake
		if r.used.Load() || !r.declare {
			generation, err := r.pass(ctx, s, settled)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil && settled >= 0 && isForeign(err):
				return err // closes the consumers, so that their messages return to the queue
			case err != nil:
				r.link.turn(s, err)
				next, wake = time.After(pauses.NextBackOff()), nil
			default:
				settled = generation
				pauses.Reset()
				select {
				case <-time.After(checkGap):
				case <-ctx.Done():
					return nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-next:
		case <-wake:
		}
	}
}

// pass runs the routine once. In a settled session it only checks the queues, unless
// one is missing. A Broker that neither declares nor watches checks none: it may lack
// the permission, and its consumers find out.
func (r *routine) pass(ctx context.Context, s *session, settled int) (generation int, err error) {
	v := &survey{session: s}
	defer v.close()
	if err := r.claim(v); err != nil {
		return settled, err
	}
	r.mu.Lock()
	marker, hook, generation := r.marker, r.hook, r.generation
	r.mu.Unlock()

	marked := true // without a hook there is no marker
	if r.declare && hook != nil {
		if marked, err = v.exists(marker); err != nil {
			return settled, err
		}
	}
	var missing []string
	if r.watch || r.declare && marked && (hook != nil || settled == generation) { // otherwise all are declared without asking
		if missing, err = v.missing(r.specs, !r.declare); err != nil {
			return settled, err
		}
		if r.declare && settled != generation {
			missing = r.withoutAdded(missing)
		}
	}
	r.mu.Lock()
	r.lost = r.lost || len(missing) > 0
	lost := r.lost
	r.mu.Unlock()
	fresh := lost || !marked

	if r.watch && settled != generation && len(missing) == 0 {
		if missing, err = v.undeclared(r.specs); err != nil {
			return settled, err
		}
	}
	if !r.declare && len(missing) > 0 {
		return settled, fmt.Errorf("missing queues that this service may not declare: %s", strings.Join(missing, ", "))
	}
	if settled == generation && len(missing) == 0 && (!fresh || hook == nil) {
		return generation, r.finish(s, generation, false)
	}
	r.link.turn(s, stepError("queues are being declared"))
	if fresh {
		r.log.InfoContext(ctx, "broker is new or has lost queues", "missing_queues", missing, "marker", marker)
	}
	if r.declare {
		if fresh && marked && hook != nil {
			if err := v.remove(marker); err != nil {
				return settled, err
			}
		}
		if err := r.declareQueues(ctx, v, fresh && hook != nil); err != nil {
			return settled, err
		}
	}
	if hook != nil {
		if err := hook(ctx, fresh); err != nil {
			return settled, fmt.Errorf("run session hook: %w", err)
		}
		if fresh && r.declare {
			if err := v.declareMarker(marker); err != nil {
				return settled, err
			}
		}
	}
	return generation, r.finish(s, generation, hook != nil)
}

// withoutAdded returns the missing queues without those of an added work queue that has none of its
// queues: the release that ran before did not know it, so that the broker has lost no message.
func (r *routine) withoutAdded(missing []string) []string {
	for _, work := range r.added {
		var own []string
		for _, spec := range r.specs {
			if spec.Work == work && spec.HasWork() {
				own = append(own, spec.Name)
			}
		}
		if left := slices.DeleteFunc(slices.Clone(missing), func(name string) bool { return slices.Contains(own, name) }); len(missing)-len(left) == len(own) {
			missing = left
		}
	}
	return missing
}

// declareQueues declares the queues. Those of a fresh broker must also respond, and
// their names must be on its disk before the hook sends anything to them.
func (r *routine) declareQueues(ctx context.Context, v *survey, fresh bool) error {
	if err := v.declareAll(r.specs); err != nil {
		return err
	}
	if fresh {
		if err := r.repair(ctx, v); err != nil {
			return err
		}
		if err := v.flush(); err != nil {
			return err
		}
	}
	return v.bindDeadLetters(r.specs)
}

// claim claims the broker for the owner, if there is one, and bars publishing if it belongs
// to another one.
func (r *routine) claim(v *survey) error {
	r.mu.Lock()
	owner := r.owner
	r.mu.Unlock()
	if !r.declare || owner == "" {
		return nil
	}
	err := v.claim(mark(owner))
	if err == nil || isForeign(err) {
		r.publishing.bar(err)
	}
	return err
}

// finish opens the session for work unless another hook was set in the meantime.
func (r *routine) finish(s *session, generation int, hookRan bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.generation != generation {
		r.checkNow()
		return nil
	}
	if hookRan {
		r.lost = false
	}
	r.link.turn(s, nil)
	return nil
}
