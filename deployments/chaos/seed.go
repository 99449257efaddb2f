package main

import (
	"context"
	"slices"
	"sync"
	"time"
)

// What a seed draws.
const (
	loadTime      = 7 * time.Second // over which the batches come
	batchCount    = 14
	serviceFaults = 5
	serverFaults  = 3
)

// seed is the course of one: load, faults, and then the judgement. It returns an
// error when the run could not be made, which is no breach.
func (r *run) seed(ctx context.Context, o *outcome) error {
	good, bad, err := r.pictures()
	if err != nil {
		return err
	}
	batches := planBatches(r.random(3), r.site, good, bad, batchCount, loadTime)
	r.planVerbs(r.random(6), batches)
	services, servers := r.faults()
	onServices := planBlows(r.random(4), services, r.victims(), serviceFaults)
	onServers := planBlows(r.random(5), servers, doomed, serverFaults)

	if err := r.startAll(ctx); err != nil {
		return err
	}
	base, err := r.resources(ctx)
	if err != nil {
		return err
	}
	load := r.startLoad(ctx, batches)
	defer load.stop()
	var faults sync.WaitGroup
	var mu sync.Mutex // guards o.faults
	dealt := func(kind string) {
		mu.Lock()
		defer mu.Unlock()
		o.faults[kind]++
	}
	for _, blows := range [][]blow{onServices, onServers} {
		faults.Go(func() { r.deal(ctx, blows, dealt) })
	}
	faults.Wait()
	if err := r.heal(ctx); err != nil {
		return err
	}
	healed := time.Now()
	r.history.note("fault", "all healed", "", nil)
	if err := r.lookForLeaders(ctx, o); err != nil {
		return err
	}
	load.await(r.endBound() + fetchTime)
	return r.judge(ctx, o, base, healed)
}

// load is all clients, and those who look after them and the services.
type load struct {
	stop    func() // ends it at once and waits
	users   sync.WaitGroup
	running sync.WaitGroup
}

// startLoad lets the clients of the batches begin, each at its time, and a nurse
// for each service.
func (r *run) startLoad(ctx context.Context, batches []batch) *load {
	follow, cancel := context.WithCancel(ctx)
	l := new(load)
	l.stop = func() {
		cancel()
		l.users.Wait()
		l.running.Wait()
	}
	for _, name := range r.names {
		l.running.Go(func() {
			r.services[name].nurse(follow, func(what string) { r.history.note("nurse", name, what, nil) })
		})
	}
	l.running.Go(func() { r.overlook(follow) })
	for i := range batches {
		l.users.Go(func() {
			pause(follow, batches[i].after)
			r.client(follow, &batches[i], i)
		})
	}
	return l
}

// await gives the clients so much time to see the ends of their jobs.
func (l *load) await(d time.Duration) {
	give := time.AfterFunc(d, l.stop)
	l.users.Wait()
	give.Stop()
}

// victims are the services that faults happen to.
func (r *run) victims() []string {
	if !r.strict {
		return r.names
	}
	return slices.DeleteFunc(slices.Clone(r.names), func(name string) bool { return programOf(name) != "processor" })
}
