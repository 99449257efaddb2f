package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// fault is one kind of trouble.
type fault struct {
	name   string
	weight int           // how often a seed draws it
	longer time.Duration // added to the duration, at most
	do     harm
}

// harm causes the trouble of a blow. It lasts until undo is called; without an
// undo it is over when harm returns.
type harm func(ctx context.Context, r *run, b blow) (undo func() error, err error)

// blow is one fault of a plan.
type blow struct {
	fault  fault
	victim string        // a service or a queue
	at     time.Duration // the earliest start, after the start of the load
	pause  time.Duration // before the start
	lasts  time.Duration
	draw   *rand.Rand // for the choices that the harm makes
}

func (b blow) String() string {
	return fmt.Sprintf("%s %s %.1fs", b.fault.name, b.victim, b.lasts.Seconds())
}

var processFaults = []fault{
	{"kill -9", 4, 0, func(_ context.Context, r *run, b blow) (func() error, error) {
		p := r.services[b.victim]
		p.kill()
		return p.start, nil
	}},
	{"terminated", 2, 0, func(ctx context.Context, r *run, b blow) (func() error, error) {
		p := r.services[b.victim]
		if !p.alive(ctx) {
			return nil, fmt.Errorf("%s has not started yet", b.victim) // It would not handle the signal.
		}
		if err := p.end(syscall.SIGTERM); err != nil && !strings.Contains(err.Error(), "killed") {
			r.history.breach("%s after SIGTERM: %v", b.victim, err)
		}
		return p.start, nil
	}},
	{"paused", 2, 2 * time.Second, func(_ context.Context, r *run, b blow) (func() error, error) {
		return r.stop(b.victim), nil
	}},
	{"killed at a point", 4, 2 * time.Second, atPoint("KILL")},
	{"paused at a point", 3, 2 * time.Second, atPoint("STOP")},
}

// lineFaults affect the line between a service and the broker, the storage or the
// database.
var lineFaults = []fault{
	{"line slow", 1, time.Second, toxic("latency", map[string]int{"latency": 80, "jitter": 40})},
	{"line narrow", 1, time.Second, toxic("bandwidth", map[string]int{"rate": 48})}, // kB per second
	{"line dead", 2, 3 * time.Second, toxic("timeout", map[string]int{"timeout": 0})},
	{"line reset", 2, 0, toxic("reset_peer", map[string]int{"timeout": 0})},
	{"line away", 2, 0, line((*wire).away)},
	{"line cut", 2, 0, line((*wire).cut)},
	// The server learns late that the service is dead, and keeps what it held.
	{"line slow to close", 2, 2 * time.Second, func(ctx context.Context, r *run, b blow) (func() error, error) {
		return line(func(w *wire) error {
			if err := w.toxic("slow_close", map[string]int{"delay": int(b.lasts.Milliseconds())}); err != nil {
				return err
			}
			r.services[b.victim].kill()
			return r.services[b.victim].start()
		})(ctx, r, b)
	}},
}

var brokerFaults = []fault{
	{"broker kill -9", 3, 0, down("kill", "rabbitmq", "start")},
	{"broker stopped", 2, 0, down("stop", "rabbitmq", "start")},
	{"broker wiped", 2, 0, func(ctx context.Context, r *run, _ blow) (func() error, error) {
		return nil, r.servers.wipe(ctx)
	}},
	{"connections closed", 2, 0, func(ctx context.Context, r *run, _ blow) (func() error, error) {
		return nil, r.servers.ctl(ctx, "close_all_connections", "chaos")
	}},
	{"memory alarm", 1, 3 * time.Second, alarm("set_vm_memory_high_watermark", "absolute", "1000")},
	{"disk alarm", 1, 3 * time.Second, alarm("set_disk_free_limit", "1000000GB")},
	{"queue deleted", 3, 0, func(ctx context.Context, r *run, b blow) (func() error, error) {
		return nil, r.servers.ctl(ctx, "delete_queue", b.victim)
	}},
}

// doomedQueues are the victims of "queue deleted": every kind of queue that holds
// open work.
var doomedQueues = []string{
	"image_upload", "metadata_generated", "image_processed", "image_upload.suspect", "metadata_generated.retry.1s", "dead_results",
}

var storageFaults = []fault{
	{"storage kill -9", 2, 0, down("kill", "minio", "start")},
	{"storage stopped", 1, 0, down("stop", "minio", "start")},
	{"storage paused", 2, 3 * time.Second, down("pause", "minio", "resume")},
	{"storage in trouble", 4, 4 * time.Second, trouble(0.3, "500", "503", "slow", "reset", "reset after", "truncated", "short")},
	{"storage away", 2, 3 * time.Second, trouble(1, "reset")},
}

var messageFaults = []fault{{"messages meddled with", 5, 2 * time.Second, meddle}}

var databaseFaults = []fault{
	{"database kill -9", 3, 0, down("kill", "postgres", "start")},
	{"database stopped", 2, 0, down("stop", "postgres", "start")},
	{"database paused", 3, 3 * time.Second, down("pause", "postgres", "resume")},
	{"database sessions ended", 3, 0, func(ctx context.Context, r *run, _ blow) (func() error, error) {
		return nil, r.servers.sql(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '"+r.database()+"'")
	}},
}

var diskFaults = []fault{{"disk full", 3, 2 * time.Second, fullDisk}}

var clockFaults = []fault{
	{"clock an hour fast", 2, 2 * time.Second, wrongClock(time.Hour)},
	{"clock an hour slow", 2, 2 * time.Second, wrongClock(-time.Hour)},
}

// faults returns the faults that a seed draws from.
func (p *plan) faults() (onServices, onServers []fault) {
	onServices = slices.Concat(processFaults, lineFaults)
	if p.strict {
		return onServices, storageFaults
	}
	onServers = slices.Concat(brokerFaults, storageFaults, messageFaults)
	if p.postgres {
		onServers = append(onServers, databaseFaults...)
	}
	if p.smallDisk {
		onServices = append(onServices, diskFaults...)
	}
	if p.retention == 0 || !p.postgres {
		// With a short retention and two gateways, the one with the right clock would
		// correctly delete jobs that ended an hour ago by the wrong clock of the other.
		onServices = append(onServices, clockFaults...)
	}
	return onServices, onServers
}

// deal deals the blows, one after the other, and counts those that happened. One
// may fail because another has the same victim.
func (r *run) deal(ctx context.Context, o *outcome, blows []blow) error {
	start := time.Now()
	for _, b := range blows {
		pause(ctx, max(b.pause, time.Until(start.Add(b.at))))
		if ctx.Err() != nil {
			return nil
		}
		r.history.note("fault", b.String(), "begin")
		undo, err := b.fault.do(ctx, r, b)
		if undo != nil && err == nil {
			pause(ctx, b.lasts)
			err = undo()
		}
		if r.history.note("fault", b.String(), "end", err); err == nil {
			r.ledger.change(func() { o.faults[b.fault.name]++ })
		} else if r.exact {
			return fmt.Errorf("%s: %w", b, err)
		}
	}
	return nil
}

// down affects a server by one verb of servers.sh, until another.
func down(verb, server, undo string) harm {
	return func(ctx context.Context, r *run, _ blow) (func() error, error) {
		return func() error { return r.servers.run(ctx, undo, server) }, r.servers.run(ctx, verb, server)
	}
}

// alarm makes the broker report that it lacks memory or disk space.
func alarm(command ...string) harm {
	return func(ctx context.Context, r *run, _ blow) (func() error, error) {
		return func() error { return r.servers.noAlarms(ctx) }, r.servers.ctl(ctx, command...)
	}
}

// trouble makes requests to the storage fail at the rate.
func trouble(rate float64, modes ...string) harm {
	return func(_ context.Context, r *run, _ blow) (func() error, error) {
		r.storage.trouble(rate, modes...)
		return func() error { r.storage.trouble(0); return nil }, nil
	}
}

// line affects the line from the victim to one of its servers.
func line(change func(*wire) error) harm {
	return func(_ context.Context, r *run, b blow) (func() error, error) {
		to := slices.Sorted(maps.Keys(r.wires[b.victim]))
		chosen := to[b.draw.IntN(len(to))]
		r.history.note("fault", b.String(), "line to", chosen)
		w := r.wires[b.victim][chosen]
		return func() error { return r.loosen(b.victim, w.heal()) }, r.loosen(b.victim, change(w))
	}
}

func toxic(kind string, attributes map[string]int) harm {
	return line(func(w *wire) error { return w.toxic(kind, attributes) })
}

// loosen kills a service whose connections hang in a wire, which is how they end.
// It returns any other error.
func (r *run) loosen(name string, err error) error {
	if !errors.Is(err, errStuck) {
		return err
	}
	r.history.note("fault", "kill -9 "+name, err)
	r.services[name].kill()
	return r.services[name].start()
}

// stop stops a service and returns what resumes it.
func (r *run) stop(name string) (resume func() error) {
	r.services[name].signal(syscall.SIGSTOP)
	return func() error { r.services[name].signal(syscall.SIGCONT); return nil }
}

// signalWorkers signals all services but the gateways.
func (r *run) signalWorkers(s syscall.Signal) {
	for _, name := range r.names {
		if programOf(name) != "gateway" {
			r.services[name].signal(s)
		}
	}
}

// points are the failpoints of each program, in the order of the data flow.
var points = map[string][]string{
	"gateway": {
		"batch reserved", "inline image stored", "job created", "fetch begun", "fetched image stored", "fetched image noted",
		"uploads published", "uploads marked sent", "image_processed delivered", "result settled", "watchers told",
		"image_processed published", "image_processed acked",
	},
	"analyzer":  {"image_upload delivered", "analysis", "image_upload published", "image_upload acked"},
	"processor": {"metadata_generated delivered", "result stored", "results stored", "metadata_generated published", "metadata_generated acked"},
}

// retentionPoints are those of a gateway that deletes jobs.
var retentionPoints = []string{"jobs hidden", "originals deleted", "originals forgotten"}

// atPoint orders the victim to kill or stop itself at one of its failpoints. It
// fails when the victim does not reach that point in time.
func atPoint(verb string) harm {
	return func(ctx context.Context, r *run, b blow) (func() error, error) {
		list := points[programOf(b.victim)]
		if r.retention > 0 && programOf(b.victim) == "gateway" {
			list = slices.Concat(retentionPoints, list)
		}
		point := list[b.draw.IntN(len(list))]
		r.history.note("fault", b.String(), "at", point)
		order := r.file(b.victim, "order")
		if err := replaceFile(order, verb+" "+point); err != nil {
			return nil, err
		}
		wait, cancel := context.WithTimeout(ctx, 2*time.Second+b.lasts)
		defer cancel()
		if err := poll(wait, 20*time.Millisecond, func() (bool, error) {
			_, err := os.Stat(order)
			return errors.Is(err, os.ErrNotExist), nil
		}); err != nil && os.Remove(order) == nil {
			return nil, fmt.Errorf("%s did not reach %q", b.victim, point)
		}
		if verb == "STOP" {
			return r.stop(b.victim), nil
		}
		return nil, nil // The supervisor restarts it.
	}
}

// wrongClock sets the clock of the victim.
func wrongClock(by time.Duration) harm {
	return func(_ context.Context, r *run, b blow) (func() error, error) {
		return func() error { return r.setClock(b.victim, 0) }, r.setClock(b.victim, by)
	}
}

func (r *run) setClock(name string, by time.Duration) error {
	return replaceFile(r.file(name, "clock"), by.String())
}

// file returns the path of a file by which the harness controls a service.
func (r *run) file(service, kind string) string { return filepath.Join(r.dir, service+"."+kind) }

// replaceFile writes a file atomically.
func replaceFile(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// restart restarts the victim as a deployment does.
func restart(ctx context.Context, r *run, b blow) (func() error, error) {
	p := r.services[b.victim]
	if err := p.end(syscall.SIGTERM); err != nil {
		r.history.breach("%s after SIGTERM: %v", b.victim, err)
	}
	if err := p.start(); err != nil {
		return nil, err
	}
	ready, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := p.awaitReady(ready); err != nil {
		r.history.breach("after a restart: %v", err)
	}
	return nil, nil
}

// longOutage makes the storage unavailable as soon as all batches are accepted, and
// only then resumes the workers.
func longOutage(batches int) harm {
	return func(ctx context.Context, r *run, b blow) (func() error, error) {
		accepting, cancel := context.WithTimeout(ctx, readyTime)
		defer cancel()
		if err := poll(accepting, 20*time.Millisecond, func() (bool, error) {
			return len(r.ledger.accepted()) == batches, nil
		}); err != nil {
			return nil, fmt.Errorf("%d of %d batches were accepted: %w", len(r.ledger.accepted()), batches, err)
		}
		undo, err := trouble(1, "reset", "503", "500")(ctx, r, b)
		r.signalWorkers(syscall.SIGCONT)
		return undo, err
	}
}

// behead removes the leader of a queue for good and then resumes the workers. All
// connections end, as in the death of a broker that loses a leader.
func behead(ctx context.Context, r *run, b blow) (func() error, error) {
	if err := r.servers.behead(ctx, b.victim); err != nil {
		return nil, err
	}
	r.beheaded = b.victim
	err := r.servers.ctl(ctx, "close_all_connections", "chaos")
	r.signalWorkers(syscall.SIGCONT)
	return nil, err
}
