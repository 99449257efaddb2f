package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Scenarios are the faults that take longer than a seed has time for.
const (
	rollingTime  = 60 * time.Second  // under load
	rollingEvery = 5 * time.Second   // all services are restarted
	outageTime   = 180 * time.Second // without the storage
	outageImages = 200               // in flight meanwhile

	rollingBatches = 60
)

// scenarios are the runs of the scenario: on each store one.
func (h *harness) scenarios() ([]assignment, error) {
	act, known := map[string]func(*run, context.Context, *outcome) error{
		"rolling": (*run).rolling, "outage": (*run).outage, "leaderless": (*run).beheaded,
	}[h.scenario]
	if !known {
		return nil, fmt.Errorf("there is no scenario %q, only rolling, outage and leaderless", h.scenario)
	}
	var list []assignment
	for i, store := range []string{"sqlite", "postgres"} {
		of := setting{names: []string{"gateway", "analyzer-1", "analyzer-2", "processor-1", "processor-2"}}
		if store == "postgres" {
			of.postgres = true
			of.names = append([]string{"gateway-1", "gateway-2"}, of.names[1:]...)
		}
		name := h.scenario + "-" + store
		number := h.first + uint64(i)
		list = append(list, assignment{
			name: name, of: of, hint: "make chaos SCENARIO=" + h.scenario,
			play: func(ctx context.Context, s *servers) *outcome {
				return h.play(ctx, s, name, number, of, act)
			},
		})
	}
	return list, nil
}

// rolling restarts all services by SIGTERM every few seconds under load, and
// holds that no image is lost and that a GET which is repeated until there is an
// answer gets the right one.
func (r *run) rolling(ctx context.Context, o *outcome) error {
	good, bad, err := r.pictures()
	if err != nil {
		return err
	}
	batches := planBatches(r.random(3), r.site, good, bad, rollingBatches, rollingTime)
	for i := range batches {
		batches[i].key = fmt.Sprintf("rolling %d", i)
	}
	if err := r.startAll(ctx); err != nil {
		return err
	}
	base, err := r.resources(ctx)
	if err != nil {
		return err
	}
	load := r.startLoad(ctx, batches)
	defer load.stop()
	steady, stop := context.WithTimeout(ctx, rollingTime)
	defer stop()
	var readers sync.WaitGroup
	for at := range 4 {
		readers.Go(func() { r.steadyReader(steady, at) })
	}
	for round := 0; steady.Err() == nil; round++ {
		next := time.Now().Add(rollingEvery)
		// One gateway after the other, as a deployment does, and the others meanwhile.
		var others sync.WaitGroup
		for _, name := range r.names {
			restart := func() {
				if err := r.restart(ctx, name); err != nil {
					r.history.breach("round %d: %v", round, err)
				}
			}
			if programOf(name) == "gateway" {
				restart()
			} else {
				others.Go(restart)
			}
		}
		others.Wait()
		o.faults["all services restarted"]++
		pause(steady, time.Until(next))
	}
	readers.Wait()
	healed := time.Now()
	load.await(endTime + fetchTime)
	return r.judge(ctx, o, base, healed)
}

// restart ends a service as a deployment does, and waits until the next one is
// ready.
func (r *run) restart(ctx context.Context, name string) error {
	p := r.services[name]
	began := time.Now()
	r.history.note("fault", "restart "+name, "begin", nil)
	if err := p.end(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s after SIGTERM: %w", name, err)
	}
	ended := time.Since(began)
	if err := p.start(); err != nil {
		return err
	}
	limit, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	err := p.awaitReady(limit)
	r.history.note("fault", "restart "+name, "end", fmt.Sprintf("ended in %s, ready after %s", ended, time.Since(began)))
	return err
}

// steadyReader asks for the list again and again, as somebody does who repeats a
// GET that got no answer: at the next gateway, when there is one. Mostly the
// connection is refused; one that was waiting to be accepted when the gateway
// stopped listening is reset by the kernel, which no server can prevent. Whatever
// is answered must be whole and right.
func (r *run) steadyReader(ctx context.Context, at int) {
	for answered := time.Now(); ctx.Err() == nil; pause(ctx, 50*time.Millisecond) {
		status, body, err := get(ctx, r.gateway(at).url("/api/v1/batch?limit=5"))
		switch {
		case ctx.Err() != nil:
		case err != nil && !strings.HasPrefix(err.Error(), "read answer") && time.Since(answered) < readyTime:
			r.history.note("steady reader", "get", "unanswered", err.Error())
			at++
			continue
		case err != nil:
			r.history.breach("a GET during a rolling restart, last answered %s ago: %v", time.Since(answered), err)
		case status != http.StatusOK:
			r.history.breach("a GET during a rolling restart answered %d: %.200s", status, body)
		}
		answered = time.Now()
	}
}

// outage takes the storage away while many images are in flight, for minutes, and
// holds that none of them fails.
func (r *run) outage(ctx context.Context, o *outcome) error {
	good, _, err := r.pictures()
	if err != nil {
		return err
	}
	var batches []batch
	for len(batches) < outageImages/10 {
		var b batch
		for i := range 10 {
			img := good[(len(batches)+i)%len(good)]
			if i%2 == 0 {
				img.url = r.site.url("slow", img.name, fmt.Sprintf("%d-%d", len(batches), i))
			}
			img.name = fmt.Sprintf("%d-%d-%s", len(batches), i, img.name)
			b.images = append(b.images, img)
		}
		batches = append(batches, b)
	}
	if err := r.startAll(ctx); err != nil {
		return err
	}
	base, err := r.resources(ctx)
	if err != nil {
		return err
	}
	// Whoever works on images waits, so that all of them are in flight when the
	// storage goes.
	workers := r.signalWorkers(syscall.SIGSTOP)
	load := r.startLoad(ctx, batches)
	defer load.stop()
	accepting, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := poll(accepting, 20*time.Millisecond, func() (bool, error) {
		return len(r.ledger.accepted()) == len(batches), nil
	}); err != nil {
		return errors.Join(fmt.Errorf("%d of %d batches were accepted: %w", len(r.ledger.accepted()), len(batches), err), ctx.Err())
	}
	r.storage.trouble(1, "reset", "503", "500")
	r.signalWorkers(syscall.SIGCONT)
	r.history.note("fault", "storage away", "begin", workers)
	o.faults["storage away for three minutes"]++
	pause(ctx, outageTime)
	r.storage.heal()
	healed := time.Now()
	r.history.note("fault", "storage away", "end", nil)
	load.await(endTime + fetchTime)
	return r.judge(ctx, o, base, healed)
}

// signalWorkers signals all services but the gateways and gives their names.
func (r *run) signalWorkers(s syscall.Signal) (names []string) {
	for _, name := range r.names {
		if programOf(name) != "gateway" {
			r.services[name].signal(s)
			names = append(names, name)
		}
	}
	return names
}

// beheaded takes the leader from a work queue under load, for good, and holds that
// the queue is made anew and no image is lost. The gateway itself never uses this
// one.
func (r *run) beheaded(ctx context.Context, o *outcome) error {
	const queue = "metadata_generated"
	good, bad, err := r.pictures()
	if err != nil {
		return err
	}
	batches := planBatches(r.random(3), r.site, good, bad, batchCount, loadTime)
	if err := r.startAll(ctx); err != nil {
		return err
	}
	base, err := r.resources(ctx)
	if err != nil {
		return err
	}
	// Whoever works on images waits, so that all of them must pass the queue yet.
	r.signalWorkers(syscall.SIGSTOP)
	load := r.startLoad(ctx, batches)
	defer load.stop()
	pause(ctx, loadTime/2)
	if err := r.servers.behead(ctx, queue); err != nil {
		return err
	}
	// The death of the broker that does so ends all connections.
	if _, err := r.servers.ctl(ctx, "close_all_connections", "chaos"); err != nil {
		return err
	}
	r.signalWorkers(syscall.SIGCONT)
	healed := time.Now()
	r.history.note("fault", "behead "+queue, "", nil)
	o.faults["queue without a leader"]++
	r.anew = true
	load.await(r.endBound() + fetchTime)
	made := 0.0
	for _, name := range r.gateways {
		figures, err := r.metrics(ctx, name)
		if err != nil {
			return fmt.Errorf("metrics of %s: %w", name, err)
		}
		made += figures[`imagebatch_queues_made_anew_total{queue="`+queue+`"}`]
	}
	if made == 0 {
		r.history.breach("%s was not made anew", queue)
	}
	return r.judge(ctx, o, base, healed)
}
