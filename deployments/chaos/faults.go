package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// fault is one kind of fault.
type fault struct {
	name   string
	weight int           // how often a seed draws it
	longer time.Duration // maximum that is added to the duration
	do     effect
}

// effect causes the fault. The fault lasts until undo is called; if undo is nil, it is
// over when effect returns. An error means that the fault did not happen.
type effect func(ctx context.Context, r *run, b injection) (undo func() error, err error)

// injection is one fault of a plan.
type injection struct {
	fault  fault
	victim string        // a service or a queue
	at     time.Duration // earliest start, after the start of the load
	pause  time.Duration // wait before the start
	lasts  time.Duration
	draw   *rand.Rand // random numbers for the choices of the effect
}

func (b injection) String() string {
	return fmt.Sprintf("%s %s %.1fs", b.fault.name, b.victim, b.lasts.Seconds())
}

var processFaults = []fault{
	{"kill -9", 4, 0, signalled(syscall.SIGKILL)},
	{"terminated", 2, 0, signalled(syscall.SIGTERM)},
	{"paused", 2, 2 * time.Second, paused},
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
	{"line unavailable", 2, 0, line((*wire).disconnect)},
	{"line cut", 2, 0, line((*wire).cut)},
	// The server notices late that the service is dead, and keeps its messages and locks.
	{"line slow to close", 2, 2 * time.Second, func(ctx context.Context, r *run, b injection) (func() error, error) {
		undo, err := toxic("slow_close", map[string]int{"delay": int(b.lasts.Milliseconds())})(ctx, r, b)
		r.services[b.victim].restart()
		return undo, err
	}},
}

// withoutDeadLetterWorkers stops a process that RabbitMQ before 4.3.3 can lose. Until the node restarts, it delivers no dead letters and
// no delayed messages, and no queue with dead letters can get a leader there.
const withoutDeadLetterWorkers = "rabbitmqctl eval supervisor:terminate_child(rabbit_sup,rabbit_fifo_dlx_sup)."

var brokerFaults = []fault{
	{"broker kill -9", 3, 0, commands("kill rabbitmq", "start rabbitmq")},
	{"broker stopped", 2, 0, commands("stop rabbitmq", "start rabbitmq")},
	{"broker wiped", 2, 0, commands("wipe rabbitmq", "start rabbitmq")},
	{"connections closed", 2, 0, commands("rabbitmqctl close_all_connections chaos", "")},
	{"memory alarm", 1, 3 * time.Second, commands("rabbitmqctl set_vm_memory_high_watermark absolute 1000", "rabbitmqctl set_vm_memory_high_watermark 0.4")},
	{"disk alarm", 1, 3 * time.Second, commands("rabbitmqctl set_disk_free_limit 1000000GB", "rabbitmqctl set_disk_free_limit 200MB")},
	{"broker without dead-letter workers", 2, 5 * time.Second, commands(withoutDeadLetterWorkers, "restart rabbitmq")},
	{"queue deleted", 3, 0, commands("rabbitmqctl delete_queue VICTIM", "")},
}

// doomedQueues returns the victims of "queue deleted": every kind of queue that contains
// open work.
func (p *plan) doomedQueues() []string {
	list := []string{"image_upload", "metadata_generated", "image_processed", "image_upload.suspect", "metadata_generated.retry.1s", "dead_results"}
	if p.captions {
		list = append(list, "image_described", "image_described.retry.1s")
	}
	return list
}

// workQueues returns the queues between the services.
func (p *plan) workQueues() []string {
	list := []string{"image_upload", "metadata_generated", "image_processed"}
	if p.captions {
		list = append(list, "image_described")
	}
	return list
}

var storageFaults = []fault{
	{"storage kill -9", 2, 0, commands("kill storage", "start storage")},
	{"storage stopped", 1, 0, commands("stop storage", "start storage")},
	{"storage paused", 2, 3 * time.Second, commands("pause storage", "resume storage")},
}

// requestFaults are those of requests to the storage, whatever the state of its server.
var requestFaults = []fault{
	{"storage in trouble", 4, 4 * time.Second, trouble(0.3, "500", "503", "slow", "reset", "reset after", "truncated", "short")},
	{"storage unavailable", 2, 3 * time.Second, trouble(1, "reset")},
}

var databaseFaults = []fault{
	{"database kill -9", 3, 0, commands("kill postgres", "start postgres")},
	{"database stopped", 2, 0, commands("stop postgres", "start postgres")},
	{"database paused", 3, 3 * time.Second, commands("pause postgres", "resume postgres")},
	{"database sessions ended", 3, 0, func(ctx context.Context, r *run, _ injection) (func() error, error) {
		return nil, r.servers.sql(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'chaos'")
	}},
}

var clockFaults = []fault{
	{"clock an hour fast", 2, 2 * time.Second, wrongClock("1h")},
	{"clock an hour slow", 2, 2 * time.Second, wrongClock("-1h")},
}

// faults returns the faults that a seed draws from.
func (p *plan) faults() (onServices, onServers []fault) {
	onRequests := requestFaults
	if p.captions {
		onRequests = slices.Concat(requestFaults, modelFaults)
	}
	onServices, onServers = slices.Concat(processFaults, lineFaults), slices.Concat(storageFaults, onRequests)
	if p.strict {
		return onServices, onServers
	}
	if p.clustered {
		onServers = slices.Concat(clusterFaults, onRequests)
	} else {
		onServers = append(slices.Concat(brokerFaults, onServers), fault{"messages tampered with", 5, 2 * time.Second, tamper})
		if p.postgres {
			onServers = append(onServers, databaseFaults...)
		}
	}
	if p.smallDisk {
		onServices = append(onServices, fault{"disk full", 3, 2 * time.Second, fullDisk})
	}
	if p.retention == 0 || !p.postgres {
		// With a short retention and two gateways, the one with the right clock would
		// correctly delete jobs that ended an hour ago by the wrong clock of the other.
		onServices = append(onServices, clockFaults...)
	}
	return onServices, onServers
}

// inject injects the faults, one after the other, and counts those that happened. A fault
// may not happen if another one has the same victim. inject returns an error if a fault
// cannot be undone, or if a fault that must happen did not.
func (r *run) inject(ctx context.Context, injections []injection) error {
	start := time.Now()
	for _, b := range injections {
		pause(ctx, max(b.pause, time.Until(start.Add(b.at))))
		if ctx.Err() != nil {
			return nil
		}
		r.note("fault", b.String(), "begin")
		undo, missed := b.fault.do(ctx, r, b)
		if undo != nil {
			if missed == nil {
				pause(ctx, b.lasts)
			}
			if err := undo(); err != nil {
				return fmt.Errorf("end %s: %w", b, err)
			}
		}
		r.note("fault", b.String(), "end", missed)
		if missed == nil {
			r.count("faults", 1)
			r.count(b.fault.name, 1)
		} else if r.exact {
			return fmt.Errorf("%s missed: %w", b, missed)
		}
	}
	return nil
}

// signalled stops a service with the signal.
func signalled(s syscall.Signal) effect {
	return func(ctx context.Context, r *run, b injection) (func() error, error) {
		p := r.services[b.victim]
		if s == syscall.SIGTERM {
			// Its signal handler must be installed.
			if err := p.await(ctx, "/healthz", startTime); err != nil {
				return nil, err
			}
		}
		if err := p.end(s); err != nil && !strings.Contains(err.Error(), "killed") {
			r.breach("%s after signal %s: %v", b.victim, s, err)
		}
		return func() error { p.start(); return nil }, nil
	}
}

// paused pauses a service with SIGSTOP.
func paused(_ context.Context, r *run, b injection) (func() error, error) {
	p := r.services[b.victim]
	p.signal(syscall.SIGSTOP)
	return func() error { p.signal(syscall.SIGCONT); return nil }, nil
}

// stopped waits until a process that has taken the order to stop itself has done so. A SIGCONT before would leave it stopped.
func stopped(ctx context.Context, p *process) (func() error, error) {
	limited, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	err := poll(limited, 20*time.Millisecond, p.isStopped)
	return func() error { p.signal(syscall.SIGCONT); return nil }, err
}

// signalWorkers signals all services except the gateways.
func (r *run) signalWorkers(s syscall.Signal) {
	for name, p := range r.services {
		if programOf(name) != "gateway" {
			p.signal(s)
		}
	}
}

// commands causes the fault by one command and undoes it by another.
func commands(do, undo string) effect {
	return func(ctx context.Context, r *run, b injection) (func() error, error) {
		call := func(line string) error { return r.servers.call(ctx, strings.Replace(line, "VICTIM", b.victim, 1)) }
		if undo == "" {
			return nil, call(do)
		}
		return func() error { return call(undo) }, call(do)
	}
}

// trouble makes requests to the storage fail at the rate.
func trouble(rate float64, modes ...string) effect {
	return func(_ context.Context, r *run, _ injection) (func() error, error) {
		r.storage.trouble(rate, modes...)
		return func() error { r.storage.trouble(0); return nil }, nil
	}
}

// line changes the wire between the victim and one of its servers.
func line(change func(*wire) error) effect {
	return func(_ context.Context, r *run, b injection) (func() error, error) {
		to := slices.Sorted(maps.Keys(r.wires[b.victim]))
		chosen := to[b.draw.IntN(len(to))]
		r.note("fault", b.String(), "line to ", chosen)
		// Connections that hang in a wire end when the service is killed.
		loosen := func(err error) error {
			if errors.Is(err, errStuck) {
				r.note("fault", "kill -9 "+b.victim, err)
				r.services[b.victim].restart()
				return nil
			}
			return err
		}
		w := r.wires[b.victim][chosen]
		return func() error { return loosen(w.heal()) }, loosen(change(w))
	}
}

func toxic(kind string, attributes map[string]int) effect {
	return line(func(w *wire) error { return w.toxic(kind, attributes) })
}

// wrongClock sets the clock of the victim.
func wrongClock(by string) effect {
	return func(_ context.Context, r *run, b injection) (func() error, error) {
		clock := r.path(b.victim, "clock")
		return func() error { return os.Remove(clock) }, os.WriteFile(clock, []byte(by), 0o600)
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
	"captions":  {"image_described delivered", "caption", "answer stored", "image_described published", "image_described acked"}, // of the analyzer
	"processor": {"metadata_generated delivered", "result stored", "results stored", "metadata_generated published", "metadata_generated acked"},
	"retention": {"jobs hidden", "originals deleted", "originals forgotten"}, // of the gateway
}

// atPoint orders the victim to kill or stop itself at one of its failpoints. It returns an
// error if the victim does not reach that point in time.
func atPoint(verb string) effect {
	return func(ctx context.Context, r *run, b injection) (func() error, error) {
		list := points[programOf(b.victim)]
		if r.retention > 0 && programOf(b.victim) == "gateway" {
			list = slices.Concat(points["retention"], list)
		}
		if r.captions && programOf(b.victim) == "analyzer" {
			list = slices.Concat(list, points["captions"])
		}
		point := list[b.draw.IntN(len(list))]
		r.note("fault", b.String(), "at", point)
		order := r.path(b.victim, "order")
		if err := os.WriteFile(order, []byte(verb+" "+point), 0o600); err != nil {
			return nil, err
		}
		wait, cancel := context.WithTimeout(ctx, 2*time.Second+b.lasts)
		defer cancel()
		if err := poll(wait, 20*time.Millisecond, func() bool {
			_, err := os.Stat(order)
			return errors.Is(err, os.ErrNotExist)
		}); err != nil && os.Remove(order) == nil {
			return nil, fmt.Errorf("%s did not reach %q", b.victim, point)
		}
		if verb == "STOP" {
			return stopped(ctx, r.services[b.victim])
		}
		return nil, nil // supervise restarts it.
	}
}

// restart stops the victim with SIGTERM and starts it again, as a deployment does.
func restart(ctx context.Context, r *run, b injection) (func() error, error) {
	undo, err := signalled(syscall.SIGTERM)(ctx, r, b)
	if err != nil {
		return nil, err
	}
	return nil, errors.Join(undo(), r.services[b.victim].awaitReady(ctx))
}

// moved moves the services to another broker of another version, which is empty, as operators must do where a
// version cannot be upgraded in place: the gateways stop, every service gets the other broker, and the gateways start. They
// find it fresh and send all open images again. The old broker is emptied.
func moved(ctx context.Context, r *run, _ injection) (func() error, error) {
	s, other := r.servers, r.servers.other
	for _, name := range r.gateways {
		if err := r.services[name].end(syscall.SIGTERM); err != nil {
			return nil, err
		}
	}
	for _, name := range r.names {
		if err := r.wires[name]["broker 1"].redirect(other.brokers[0].Host); err != nil {
			return nil, err
		}
	}
	for _, name := range r.gateways {
		r.services[name].start()
	}
	for _, command := range []string{"stop_app", "reset", "start_app"} {
		if _, err := s.ctl(ctx, command); err != nil {
			return nil, err
		}
	}
	s.brokers, other.brokers = other.brokers, s.brokers
	s.rabbitmqctl, other.rabbitmqctl = other.rabbitmqctl, s.rabbitmqctl
	return nil, nil
}

// longOutage makes the storage unavailable as soon as all batches are accepted, and
// only then resumes the workers.
func longOutage(ctx context.Context, r *run, b injection) (func() error, error) {
	accepting, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := poll(accepting, 20*time.Millisecond, func() bool { return len(r.records()) == outageBatches }); err != nil {
		return nil, fmt.Errorf("only %d of %d batches were accepted: %w", len(r.records()), outageBatches, err)
	}
	defer r.signalWorkers(syscall.SIGCONT)
	return trouble(1, "reset", "503", "500")(ctx, r, b)
}
