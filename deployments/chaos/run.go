package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// Time limits of a run.
const (
	endTime   = 60 * time.Second                      // from the last fault to the end of every job
	fetchTime = 60 * time.Second                      // for the download of an image, in addition
	anewTime  = rabbitmq.DefaultSilence + time.Minute // for a queue without a leader, in addition
	readyTime = 60 * time.Second                      // for a service to become ready
)

// poisonName ends the name of an image that kills its analyzer.
const poisonName = "poison.jpg"

// run is one set of services, from its start to the verdict.
type run struct {
	*plan
	dir     string
	prefix  string // of its objects
	history *history
	servers *servers

	services map[string]*process
	gateways []string                    // names of those services that are gateways
	wires    map[string]map[string]*wire // by service and by server
	storage  *storage
	site     *site
	ledger   *ledger
	beheaded string // the queue whose leader a fault has removed
	slow     bool   // the faults left a queue without a leader
	refused  int    // number of batches that met a full disk
}

// run makes one run on the servers.
func (p *plan) run(ctx context.Context, s *servers, bin, dir string) *outcome {
	o := newOutcome()
	// The run must not suffer from what an earlier one has left.
	if names, err := s.leaderless(ctx); err != nil || names != "" {
		fmt.Printf("wiping the broker, whose queues %s have no leader\n", names)
		o.err = errors.Join(err, s.wipe(ctx))
	}
	if p.poison > 0 {
		_ = s.ctl(ctx, "purge_queue", deadUploads) // The queue may not exist yet.
	}
	var r *run
	if o.err == nil {
		r, o.err = newRun(ctx, p, s, bin, dir)
	}
	if o.err != nil {
		return o
	}
	o.err = r.play(ctx, o)
	o.err = errors.Join(o.err, r.close(ctx))
	if o.breaches = r.history.breaches; len(o.breaches) == 0 && o.err == nil {
		o.err = os.RemoveAll(dir)
	}
	return o
}

// newRun creates the services, each on wires of its own, without starting them. The
// services get env in addition.
func newRun(ctx context.Context, p *plan, s *servers, bin, dir string, env ...string) (_ *run, err error) {
	r := &run{
		plan: p, dir: dir, servers: s, ledger: newLedger(), services: map[string]*process{}, wires: map[string]map[string]*wire{},
		prefix: fmt.Sprintf("seed-%d-%d/", p.number, time.Now().UnixNano()),
	}
	data := filepath.Join(dir, "data")
	unmountDisk(data) // An earlier run may have been killed.
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(data, 0o750)); err != nil {
		return nil, fmt.Errorf("clear the folder of the run: %w", err)
	}
	if r.history, err = newHistory(filepath.Join(dir, "history.jsonl")); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close(ctx))
		}
	}()
	r.storage = newStorage(s.storage, r.random(1))
	good, bad := sources(r.random(2))
	r.site = newSite(slices.Concat(good, bad))
	if r.postgres {
		if err := r.createDatabase(ctx); err != nil {
			return nil, err
		}
	}
	if r.smallDisk {
		if err := mountDisk(data); err != nil {
			return nil, err
		}
	}
	if r.poison > 0 {
		env = append(env, "FAILPOINT=analysis", "FAILPOINT_DETAIL="+poisonName)
	}
	if r.retention > 0 {
		env = append(env, "JOB_RETENTION="+r.retention.String())
	}
	for _, name := range r.names {
		if err := r.add(name, filepath.Join(bin, programOf(name)), env); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// add creates one service with its wires.
func (r *run) add(name, program string, env []string) error {
	r.wires[name] = map[string]*wire{}
	var errs []error
	through := func(to string, target *url.URL) *url.URL {
		addr, err := freeAddr()
		if err == nil {
			r.wires[name][to], err = newWire(addr, target.Host)
		}
		errs = append(errs, err)
		wired := *target
		wired.Host = addr
		return &wired
	}
	storage, err := url.Parse(r.storage.URL)
	errs = append(errs, err)
	env = append([]string{
		"RABBITMQ_URL=" + through("broker", r.servers.broker).String(), "S3_ENDPOINT=" + through("storage", storage).String(),
		"S3_ACCESS_KEY=" + r.servers.key, "S3_SECRET_KEY=" + r.servers.secret, "S3_CREATE_BUCKETS=true",
		"S3_PREFIX_ORIGINAL=" + r.prefix, "S3_PREFIX_PROCESSED=" + r.prefix, "DOWNLOAD_ALLOW_NETWORKS=127.0.0.0/8",
		"FAILPOINT_ORDER=" + r.file(name, "order"), "FAILPOINT_CLOCK=" + r.file(name, "clock"),
	}, env...)
	if programOf(name) == "gateway" {
		r.gateways = append(r.gateways, name)
		if r.postgres {
			database := through("database", r.servers.database)
			database.Path = "/" + r.database()
			env = append(env, "DATABASE_URL="+database.String())
		}
	}
	addr, err := freeAddr()
	r.services[name] = newProcess(name, program, addr, r.dir, env...)
	return errors.Join(append(errs, err)...)
}

// database returns the name of the run's database.
func (r *run) database() string { return fmt.Sprintf("seed_%d", r.number) }

// createDatabase creates an empty database, and starts PostgreSQL if necessary.
func (r *run) createDatabase(ctx context.Context) error {
	if err := r.servers.run(ctx, "start", "postgres"); err != nil {
		return err
	}
	return errors.Join(r.servers.learn(), r.dropDatabase(ctx), r.servers.sql(ctx, "CREATE DATABASE "+r.database()))
}

func (r *run) dropDatabase(ctx context.Context) error {
	return r.servers.sql(ctx, "DROP DATABASE IF EXISTS "+r.database()+" WITH (FORCE)")
}

// gateway returns a gateway, and the next one for the next number.
func (r *run) gateway(i int) *process { return r.services[r.gateways[i%len(r.gateways)]] }

// close ends everything that the run has started.
func (r *run) close(ctx context.Context) (err error) {
	for _, p := range r.services {
		p.kill()
	}
	for _, to := range r.wires {
		for _, w := range to {
			if closed := w.away(); !errors.Is(closed, errStuck) {
				err = errors.Join(err, closed)
			}
		}
	}
	r.storage.CloseClientConnections()
	r.storage.Close()
	r.site.CloseClientConnections()
	r.site.Close()
	unmountDisk(filepath.Join(r.dir, "data"))
	if r.postgres {
		err = errors.Join(err, r.dropDatabase(ctx))
	}
	_ = r.history.file.Close() // The history only explains breaches.
	return err
}

func (r *run) startAll(ctx context.Context) error {
	for _, name := range r.names {
		if err := r.services[name].start(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for _, name := range r.names {
		if err := r.services[name].awaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// play starts the services, sends the load, deals the faults and judges the result.
// An error is no breach: it says that the run could not be made.
func (r *run) play(ctx context.Context, o *outcome) error {
	good, bad := sources(r.random(2))
	batches, blows := r.draw(r, good, bad)
	if err := r.startAll(ctx); err != nil {
		return err
	}
	base, err := r.resources(ctx)
	if err != nil {
		return err
	}
	if r.hold {
		r.signalWorkers(syscall.SIGSTOP)
	}
	follow, stop := context.WithCancel(ctx)
	var clients, overlooking sync.WaitGroup
	defer overlooking.Wait()
	defer clients.Wait()
	defer stop()
	for _, name := range r.names {
		r.services[name].supervise()
	}
	overlooking.Go(func() { r.overlook(follow) })
	for i := range batches {
		clients.Go(func() {
			pause(follow, batches[i].after)
			r.client(follow, i, &batches[i])
		})
	}
	if err := r.dealAll(ctx, o, blows); err != nil {
		return err
	}
	if err := r.heal(ctx); err != nil {
		return err
	}
	healed := time.Now()
	r.history.note("fault", "all healed")
	if err := r.lookForLeaders(ctx, o); err != nil {
		return err
	}
	timer := time.AfterFunc(r.endBound()+fetchTime, stop)
	defer timer.Stop()
	clients.Wait()
	return r.judge(ctx, o, base, healed)
}

// dealAll deals the lists of blows at the same time.
func (r *run) dealAll(ctx context.Context, o *outcome, blows [][]blow) error {
	steady, stop := context.WithCancel(ctx)
	var dealers, readers sync.WaitGroup
	for at := range r.readers {
		readers.Go(func() { r.steadyReader(steady, at) })
	}
	errs := make([]error, len(blows))
	for i, list := range blows {
		dealers.Go(func() { errs[i] = r.deal(ctx, o, list) })
	}
	dealers.Wait()
	stop()
	readers.Wait()
	return errors.Join(errs...)
}

// heal ends all trouble, whatever the faults have left.
func (r *run) heal(ctx context.Context) error {
	r.storage.trouble(0)
	for _, name := range r.names {
		r.services[name].signal(syscall.SIGCONT)
		_ = os.Remove(r.file(name, "order")) // Usually there is none.
		if err := r.setClock(name, 0); err != nil {
			return err
		}
		for _, w := range r.wires[name] {
			if err := r.loosen(name, w.heal()); err != nil {
				return err
			}
		}
	}
	_ = os.Remove(r.ballast()) // Usually there is none.
	needed := []string{"rabbitmq", "minio"}
	if r.postgres {
		needed = append(needed, "postgres")
	}
	if err := errors.Join(r.servers.run(ctx, "resume", needed...), r.servers.run(ctx, "start", needed...), r.servers.noAlarms(ctx)); err != nil {
		return err
	}
	for _, name := range r.names {
		if err := r.services[name].start(); err != nil {
			return err
		}
	}
	return nil
}

// endBound returns the time limit for the end of every job, without the downloads.
func (r *run) endBound() time.Duration {
	if r.slow {
		return endTime + anewTime
	}
	return endTime
}

// lookForLeaders finds out whether a queue must be created again because it lost
// its leader, as happens with any end of the broker.
func (r *run) lookForLeaders(ctx context.Context, o *outcome) error {
	r.slow = r.beheaded != ""
	if o.faults["broker kill -9"]+o.faults["broker wiped"]+o.faults["broker stopped"] == 0 {
		return nil
	}
	names, err := r.servers.leaderless(ctx)
	if err == nil && names != "" {
		r.slow = true
		o.counts["leaderless"]++
		r.history.note("fault", "queues without a leader", names)
	}
	return err
}

// checkLog reports what no log may have.
func (r *run) checkLog(p *process) error {
	text, err := os.ReadFile(p.log)
	for _, word := range []string{"DATA RACE", "panic:", "fatal error:"} {
		if at := bytes.Index(text, []byte(word)); at >= 0 {
			r.history.breach("log of %s: %.300s", p.name, text[at:])
			break
		}
	}
	return err
}
