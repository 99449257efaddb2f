package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"
)

// fault is one way in which the world goes wrong. do makes it happen to the
// victim for the time, and has healed it when it returns.
type fault struct {
	name   string
	weight int
	longer time.Duration // added to the time
	do     func(ctx context.Context, r *run, victim string, lasts time.Duration) error
}

// serviceFaults happen to one of the services.
var serviceFaults = []fault{
	{"kill -9", 5, 0, func(ctx context.Context, r *run, victim string, lasts time.Duration) error {
		p := r.services[victim]
		_ = p.end(syscall.SIGKILL) // killed is what it is to be
		pause(ctx, lasts/2)
		return p.start()
	}},
	{"terminated", 2, 0, func(ctx context.Context, r *run, victim string, lasts time.Duration) error {
		p := r.services[victim]
		if !p.alive(ctx) {
			return fmt.Errorf("%s has not begun yet", victim) // the signal itself would end it
		}
		if err := p.end(syscall.SIGTERM); err != nil {
			r.history.breach("%s after SIGTERM: %v", victim, err)
		}
		pause(ctx, lasts/4)
		return p.start()
	}},
	{"paused", 3, 2 * time.Second, func(ctx context.Context, r *run, victim string, lasts time.Duration) error {
		r.services[victim].signal(syscall.SIGSTOP)
		pause(ctx, lasts)
		r.services[victim].signal(syscall.SIGCONT)
		return nil
	}},
	{"line slow", 2, time.Second, func(ctx context.Context, r *run, victim string, lasts time.Duration) error {
		r.wires[victim].slow(80 * time.Millisecond)
		pause(ctx, lasts)
		r.wires[victim].heal()
		return nil
	}},
	{"line dead", 2, 3 * time.Second, func(ctx context.Context, r *run, victim string, lasts time.Duration) error {
		r.wires[victim].blackHole()
		pause(ctx, lasts)
		r.wires[victim].heal()
		return nil
	}},
	{"line reset", 3, 0, func(_ context.Context, r *run, victim string, _ time.Duration) error {
		r.wires[victim].cut()
		return nil
	}},
	{"line away", 2, 0, func(ctx context.Context, r *run, victim string, lasts time.Duration) error {
		r.wires[victim].away()
		pause(ctx, lasts)
		r.wires[victim].heal()
		return nil
	}},
}

// serverFaults happen to what the services stand on. The victim is a queue.
var serverFaults = []fault{
	{"broker kill -9", 3, 0, func(ctx context.Context, r *run, _ string, lasts time.Duration) error {
		return r.downAndUp(ctx, "kill", "rabbitmq", lasts)
	}},
	{"broker stopped", 2, 0, func(ctx context.Context, r *run, _ string, lasts time.Duration) error {
		return r.downAndUp(ctx, "stop", "rabbitmq", lasts)
	}},
	{"broker wiped", 2, 0, func(ctx context.Context, r *run, _ string, _ time.Duration) error {
		return r.servers.wipe(ctx)
	}},
	{"connections closed", 2, 0, func(ctx context.Context, r *run, _ string, _ time.Duration) error {
		_, err := r.servers.ctl(ctx, "close_all_connections", "chaos")
		return err
	}},
	{"memory alarm", 2, 3 * time.Second, func(ctx context.Context, r *run, _ string, lasts time.Duration) error {
		if _, err := r.servers.ctl(ctx, "set_vm_memory_high_watermark", "absolute", "1000"); err != nil {
			return err
		}
		pause(ctx, lasts)
		_, err := r.servers.ctl(ctx, "set_vm_memory_high_watermark", "0.4")
		return err
	}},
	{"queue deleted", 3, 0, func(ctx context.Context, r *run, queue string, _ time.Duration) error {
		_, err := r.servers.ctl(ctx, "delete_queue", queue)
		return err
	}},
	{"storage kill -9", 2, 0, func(ctx context.Context, r *run, _ string, lasts time.Duration) error {
		return r.downAndUp(ctx, "kill", "minio", lasts)
	}},
	{"storage stopped", 1, 0, func(ctx context.Context, r *run, _ string, lasts time.Duration) error {
		return r.downAndUp(ctx, "stop", "minio", lasts)
	}},
	{"storage paused", 2, 3 * time.Second, func(ctx context.Context, r *run, _ string, lasts time.Duration) error {
		if err := r.servers.signal("minio", syscall.SIGSTOP); err != nil {
			return err
		}
		pause(ctx, lasts)
		return r.servers.signal("minio", syscall.SIGCONT)
	}},
	{"storage in trouble", 4, 5 * time.Second, func(ctx context.Context, r *run, _ string, lasts time.Duration) error {
		r.storage.trouble(0.3, storageModes...)
		pause(ctx, lasts)
		r.storage.heal()
		return nil
	}},
	{"storage away", 2, 3 * time.Second, func(ctx context.Context, r *run, _ string, lasts time.Duration) error {
		r.storage.trouble(1, "reset")
		pause(ctx, lasts)
		r.storage.heal()
		return nil
	}},
}

// doomed are the queues that may be deleted: every kind that holds open work.
var doomed = []string{
	"image_upload", "metadata_generated", "image_processed", "image_upload.suspect", "metadata_generated.retry.1s", "dead_results",
}

// blow is one fault of a plan.
type blow struct {
	fault  fault
	victim string
	pause  time.Duration // before it
	lasts  time.Duration
}

func (b blow) String() string {
	return fmt.Sprintf("%s %s %.1fs", b.fault.name, b.victim, b.lasts.Seconds())
}

// planBlows draws count faults, to be dealt one after the other.
func planBlows(random *rand.Rand, faults []fault, victims []string, count int) []blow {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	var list []blow
	for range count {
		b := blow{
			victim: victims[random.IntN(len(victims))],
			pause:  time.Duration(200+random.IntN(1500)) * time.Millisecond,
			lasts:  time.Duration(300+random.IntN(2700)) * time.Millisecond,
		}
		at := random.IntN(total)
		for _, b.fault = range faults {
			if at -= b.fault.weight; at < 0 {
				break
			}
		}
		b.lasts += time.Duration(random.Int64N(int64(b.fault.longer) + 1))
		list = append(list, b)
	}
	return list
}

// deal deals the blows, one after the other. One that cannot be dealt, because
// another has its victim at that moment, is not counted.
func (r *run) deal(ctx context.Context, blows []blow) (dealt int) {
	for _, b := range blows {
		pause(ctx, b.pause)
		r.history.note("fault", b.String(), "begin", nil)
		if err := b.fault.do(ctx, r, b.victim, b.lasts); err != nil {
			r.history.note("fault", b.String(), "failed", err.Error())
			continue
		}
		r.history.note("fault", b.String(), "end", nil)
		dealt++
	}
	return dealt
}

func (r *run) downAndUp(ctx context.Context, how, server string, lasts time.Duration) error {
	if err := r.servers.run(ctx, how, server); err != nil {
		return err
	}
	pause(ctx, lasts)
	return r.servers.run(ctx, "start", server)
}
