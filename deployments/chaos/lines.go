package main

import (
	"context"
	"maps"
	"slices"
	"syscall"
	"time"
)

// wireFaults happen to the line between a service and the broker, the storage, or
// the database, whichever the blow draws.
var wireFaults = []fault{
	wireFault("line slow", 1, time.Second, func(w *wire) error {
		return w.toxic("latency", map[string]int{"latency": 80, "jitter": 40})
	}),
	wireFault("line narrow", 1, time.Second, func(w *wire) error {
		return w.toxic("bandwidth", map[string]int{"rate": 48}) // kB a second
	}),
	wireFault("line dead", 2, 3*time.Second, func(w *wire) error {
		return w.toxic("timeout", map[string]int{"timeout": 0})
	}),
	wireFault("line reset", 2, 0, func(w *wire) error {
		return w.toxic("reset_peer", map[string]int{"timeout": 0})
	}),
	wireFault("line away", 2, 0, (*wire).away),
	wireFault("line cut", 2, 0, (*wire).cut),
	// The server learns late that the service is dead, and keeps what it had.
	{"line slow to close", 2, 2 * time.Second, func(ctx context.Context, r *run, b blow) error {
		w := r.line(b)
		if err := w.toxic("slow_close", map[string]int{"delay": int(b.lasts.Milliseconds())}); err != nil {
			return r.loosen(b.victim, err)
		}
		p := r.services[b.victim]
		_ = p.end(syscall.SIGKILL) // killed is what it is to be
		err := p.start()
		pause(ctx, b.lasts)
		if healed := r.loosen(b.victim, w.heal()); healed != nil {
			return healed
		}
		return err
	}},
}

// wireFault is one that lasts and is healed.
func wireFault(name string, weight int, longer time.Duration, harm func(*wire) error) fault {
	return fault{name, weight, longer, func(ctx context.Context, r *run, b blow) error {
		w := r.line(b)
		if err := harm(w); err != nil {
			return r.loosen(b.victim, err)
		}
		pause(ctx, b.lasts)
		return r.loosen(b.victim, w.heal())
	}}
}

// line is the wire that a blow goes to.
func (r *run) line(b blow) *wire {
	to := slices.Sorted(maps.Keys(r.wires[b.victim]))
	chosen := to[b.draw.IntN(len(to))]
	r.history.note("fault", b.String(), "to "+chosen, nil)
	return r.wires[b.victim][chosen]
}
