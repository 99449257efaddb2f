package rabbitmq

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

const (
	// checkInterval is how long a queue that was deleted stays unnoticed when
	// nobody publishes to it or consumes from it.
	checkInterval = 5 * time.Second
	// checkGap bounds how often a hurry is followed at once.
	checkGap = 250 * time.Millisecond
)

// routine is what every consuming session begins with, and repeats while it
// stands: see that all queues are there, declare them, and tell the hook.
//
// The order makes a crash harmless at any point: the marker goes first when
// anything is missing and comes back last, after the hook, so whoever comes next
// still finds that the broker has forgotten.
type routine struct {
	declare bool
	specs   []broker.QueueSpec
	link    *link
	log     *slog.Logger
	wake    chan struct{}
	used    atomic.Bool

	// mu guards the fields below. It may be held while link's own is taken.
	mu         sync.Mutex
	marker     string
	hook       func(ctx context.Context, fresh bool) error
	generation int  // of hook
	forgot     bool // a queue was missing, and no hook has been told yet
}

func newRoutine(config Config, consuming *link, log *slog.Logger) *routine {
	return &routine{
		declare: config.Declare, specs: broker.Topology(config.WorkQueues...), link: consuming, log: log,
		wake: make(chan struct{}, 1),
	}
}

// setHook shuts the session before it returns, so that nothing is consumed until
// the hook has run.
func (r *routine) setHook(marker string, hook func(ctx context.Context, fresh bool) error) {
	r.mu.Lock()
	r.marker, r.hook = marker, hook
	r.generation++
	r.link.shut(stepError("session hook has not run yet"))
	r.mu.Unlock()
	r.use()
	r.hurry()
}

// use lets the first routine begin.
func (r *routine) use() {
	if !r.used.Load() && !r.used.Swap(true) {
		r.hurry()
	}
}

// hurry asks for a check now.
func (r *routine) hurry() {
	select {
	case r.wake <- struct{}{}:
	default: // one is asked for already
	}
}

// serve runs the routine until ctx, which ends with the session, ends.
func (r *routine) serve(ctx context.Context, s *session) error {
	pauses := newBackOff()
	settled := -1 // the generation of the hook that this session was begun with
	for {
		next := time.After(checkInterval)
		wake := r.wake
		if r.used.Load() || !r.declare {
			generation, err := r.pass(ctx, s, settled)
			switch {
			case ctx.Err() != nil:
				return nil
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

// pass goes through the routine once. In a session that is settled already it
// only looks, unless something is missing.
func (r *routine) pass(ctx context.Context, s *session, settled int) (generation int, err error) {
	v := &survey{session: s}
	defer v.close()
	missing, err := v.missing(r.specs)
	if err != nil {
		return settled, err
	}
	r.mu.Lock()
	r.forgot = r.forgot || len(missing) > 0
	marker, hook, generation, forgot := r.marker, r.hook, r.generation, r.forgot
	r.mu.Unlock()

	fresh, marked := forgot, false
	absent := missing
	if !r.declare && settled != generation {
		others, err := v.undeclared(r.specs)
		if err != nil {
			return settled, err
		}
		absent = append(absent, others...)
	}
	switch {
	case !r.declare && len(absent) > 0:
		return settled, fmt.Errorf("missing queues that this service may not declare: %s", strings.Join(absent, ", "))
	case r.declare && hook != nil:
		if marked, err = v.exists(marker); err != nil {
			return settled, err
		}
		fresh = fresh || !marked
	}
	if settled == generation && len(missing) == 0 && (!fresh || hook == nil) {
		return generation, r.finish(s, generation, false)
	}
	r.link.turn(s, stepError("queues are being declared"))
	if fresh {
		r.log.InfoContext(ctx, "broker holds nothing of before", "missing_queues", missing, "marker", marker)
	}
	if r.declare {
		if fresh && marked {
			if err := v.remove(marker); err != nil {
				return settled, err
			}
		}
		if err := v.declareAll(r.specs); err != nil {
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

// finish opens the session for work unless a hook was set meanwhile.
func (r *routine) finish(s *session, generation int, told bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.generation != generation {
		r.hurry()
		return nil
	}
	if told {
		r.forgot = false
	}
	r.link.turn(s, nil)
	return nil
}
