package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"time"
)

// fault is one way in which the world goes wrong. do makes it happen as the blow
// says, and has healed it when it returns.
type fault struct {
	name   string
	weight int
	longer time.Duration // added to the time
	do     func(ctx context.Context, r *run, b blow) error
}

// faults are those that may happen here to a service and to a server.
func (r *run) faults() (onServices, onServers []fault) {
	onServices = slices.Concat(processFaults, wireFaults)
	if r.strict {
		return onServices, storageFaults
	}
	onServers = slices.Concat(brokerFaults, storageFaults, messageFaults)
	if r.postgres {
		onServers = append(onServers, databaseFaults...)
	}
	if r.disk != nil {
		onServices = append(onServices, diskFaults...)
	}
	if r.retention == 0 || !r.postgres {
		// With a short retention and two gateways of which one has a wrong clock, the
		// other one rightly finds that jobs have been over for an hour.
		onServices = append(onServices, clockFaults...)
	}
	return onServices, onServers
}

// processFaults happen to a service itself.
var processFaults = []fault{
	{"kill -9", 4, 0, func(ctx context.Context, r *run, b blow) error {
		p := r.services[b.victim]
		_ = p.end(syscall.SIGKILL) // killed is what it is to be
		pause(ctx, b.lasts/2)
		return p.start()
	}},
	{"terminated", 2, 0, func(ctx context.Context, r *run, b blow) error {
		p := r.services[b.victim]
		if !p.alive(ctx) {
			return fmt.Errorf("%s has not begun yet", b.victim) // the signal itself would end it
		}
		if err := p.end(syscall.SIGTERM); err != nil && !strings.Contains(err.Error(), "killed") {
			r.history.breach("%s after SIGTERM: %v", b.victim, err)
		}
		pause(ctx, b.lasts/4)
		return p.start()
	}},
	{"paused", 2, 2 * time.Second, func(ctx context.Context, r *run, b blow) error {
		r.services[b.victim].signal(syscall.SIGSTOP)
		pause(ctx, b.lasts)
		r.services[b.victim].signal(syscall.SIGCONT)
		return nil
	}},
	{"killed at a point", 4, 2 * time.Second, func(ctx context.Context, r *run, b blow) error {
		return r.hitAtPoint(ctx, b, "KILL")
	}},
	{"paused at a point", 3, 2 * time.Second, func(ctx context.Context, r *run, b blow) error {
		return r.hitAtPoint(ctx, b, "STOP")
	}},
}

// brokerFaults happen to the broker. The victim is a queue.
var brokerFaults = []fault{
	{"broker kill -9", 3, 0, func(ctx context.Context, r *run, b blow) error {
		return r.downAndUp(ctx, "kill", "rabbitmq", b.lasts)
	}},
	{"broker stopped", 2, 0, func(ctx context.Context, r *run, b blow) error {
		return r.downAndUp(ctx, "stop", "rabbitmq", b.lasts)
	}},
	{"broker wiped", 2, 0, func(ctx context.Context, r *run, _ blow) error {
		return r.servers.wipe(ctx)
	}},
	{"connections closed", 2, 0, func(ctx context.Context, r *run, _ blow) error {
		_, err := r.servers.ctl(ctx, "close_all_connections", "chaos")
		return err
	}},
	{"memory alarm", 1, 3 * time.Second, func(ctx context.Context, r *run, b blow) error {
		return r.alarm(ctx, b.lasts, "set_vm_memory_high_watermark", "absolute", "1000")
	}},
	{"disk alarm", 1, 3 * time.Second, func(ctx context.Context, r *run, b blow) error {
		return r.alarm(ctx, b.lasts, "set_disk_free_limit", "1000000GB")
	}},
	{"queue deleted", 3, 0, func(ctx context.Context, r *run, b blow) error {
		_, err := r.servers.ctl(ctx, "delete_queue", b.victim)
		return err
	}},
}

// storageFaults happen to the object storage.
var storageFaults = []fault{
	{"storage kill -9", 2, 0, func(ctx context.Context, r *run, b blow) error {
		return r.downAndUp(ctx, "kill", "minio", b.lasts)
	}},
	{"storage stopped", 1, 0, func(ctx context.Context, r *run, b blow) error {
		return r.downAndUp(ctx, "stop", "minio", b.lasts)
	}},
	{"storage paused", 2, 3 * time.Second, func(ctx context.Context, r *run, b blow) error {
		return r.stopAndGo(ctx, "minio", b.lasts)
	}},
	{"storage in trouble", 4, 4 * time.Second, func(ctx context.Context, r *run, b blow) error {
		r.storage.trouble(0.3, storageModes...)
		pause(ctx, b.lasts)
		r.storage.heal()
		return nil
	}},
	{"storage away", 2, 3 * time.Second, func(ctx context.Context, r *run, b blow) error {
		r.storage.trouble(1, "reset")
		pause(ctx, b.lasts)
		r.storage.heal()
		return nil
	}},
}

// databaseFaults happen to PostgreSQL.
var databaseFaults = []fault{
	{"database kill -9", 3, 0, func(ctx context.Context, r *run, b blow) error {
		return r.downAndUp(ctx, "kill", "postgres", b.lasts)
	}},
	{"database stopped", 2, 0, func(ctx context.Context, r *run, b blow) error {
		return r.downAndUp(ctx, "stop", "postgres", b.lasts)
	}},
	{"database paused", 3, 3 * time.Second, func(ctx context.Context, r *run, b blow) error {
		return r.stopAndGo(ctx, "postgres", b.lasts)
	}},
	{"database sessions ended", 3, 0, func(ctx context.Context, r *run, _ blow) error {
		return r.servers.endSessions(ctx, r.database())
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
	draw   *rand.Rand // what else there is to choose
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
			pause:  time.Duration(200+random.IntN(1200)) * time.Millisecond,
			lasts:  time.Duration(300+random.IntN(2200)) * time.Millisecond,
			draw:   rand.New(rand.NewPCG(random.Uint64(), 0)),
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
func (r *run) deal(ctx context.Context, blows []blow, dealt func(kind string)) {
	for _, b := range blows {
		pause(ctx, b.pause)
		if ctx.Err() != nil {
			return
		}
		r.history.note("fault", b.String(), "begin", nil)
		if err := b.fault.do(ctx, r, b); err != nil {
			r.history.note("fault", b.String(), "failed", err.Error())
			continue
		}
		r.history.note("fault", b.String(), "end", nil)
		dealt(b.fault.name)
	}
}

func (r *run) downAndUp(ctx context.Context, how, server string, lasts time.Duration) error {
	if err := r.servers.run(ctx, how, server); err != nil {
		return err
	}
	pause(ctx, lasts)
	return r.servers.run(ctx, "start", server)
}

func (r *run) stopAndGo(ctx context.Context, server string, lasts time.Duration) error {
	if err := r.servers.signal(server, syscall.SIGSTOP); err != nil {
		return err
	}
	pause(ctx, lasts)
	return r.servers.signal(server, syscall.SIGCONT)
}

// alarm makes the broker find that it has too little of something.
func (r *run) alarm(ctx context.Context, lasts time.Duration, command ...string) error {
	r.alarmed = true
	if _, err := r.servers.ctl(ctx, command...); err != nil {
		return err
	}
	pause(ctx, lasts)
	return r.servers.noAlarms(ctx)
}
