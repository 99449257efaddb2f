package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker"
)

// Time limits of a run.
const (
	endTime   = 60 * time.Second // from the last fault to the end of every job
	fetchTime = 60 * time.Second // for the download of an image, in addition
	readyTime = 60 * time.Second // for a service to become ready
	startTime = 5 * time.Second  // for a service to respond
)

// poisonName ends the name of an image that kills its analyzer.
const poisonName = "poison.jpg"

// run is one set of services, from its start to the final checks.
type run struct {
	*plan
	dir     string
	prefix  string // key prefix of its objects
	servers *servers

	services  map[string]*process
	gateways  []string                    // names of the gateways among the services
	wires     map[string]map[string]*wire // by service and by server
	storage   *storage
	model     *model // nil: the run has no captions
	site      *site
	good, bad []source

	// The history records the requests with their results, the faults and the
	// breaches, as one JSON object per line.
	history *slog.Logger
	file    *os.File

	mu       sync.Mutex        // guards the fields below
	jobs     map[string]record // by ID
	unknown  map[string]*batch // requests without a result, by the name of the first image
	counts   counts
	breaches []string
}

// note records an event: the actor, the action, and details such as the result.
func (r *run) note(who, what string, details ...any) {
	r.history.Info("event", "who", who, "what", what, "details", fmt.Sprint(details...))
}

// breach records that the promise was broken. It keeps only the first breaches of a
// run in which everything fails.
func (r *run) breach(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.note("judge", "breach", text)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.breaches) < 50 {
		r.breaches = append(r.breaches, text)
	}
}

// count adds n to a counter.
func (r *run) count(name string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[name] += n
}

// run executes the plan on the servers. The returned run is nil if it could not be executed.
func (p *plan) run(ctx context.Context, s *servers, bin, dir string) (*run, error) {
	// An earlier run may have left queues without a leader, or a partition.
	if names, err := s.leaderless(ctx); err != nil || names != "" || s.cluster.partitioned(ctx) {
		if err := s.call(ctx, "wipe rabbitmq"); err != nil {
			return nil, err
		}
	}
	r, err := newRun(ctx, p, s, bin, dir)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(r.play(ctx), r.close(ctx)); err != nil {
		return nil, err
	}
	if len(r.breaches) == 0 {
		return r, os.RemoveAll(dir)
	}
	for _, queue := range p.workQueues() {
		_, _ = s.ctl(ctx, "purge_queue", "--vhost", s.vhost, broker.DeadQueue(queue)) // Otherwise, the next run reports them too.
	}
	return r, nil
}

// newRun creates the services, each with wires of its own, without starting them. It adds
// env to their environment.
func newRun(ctx context.Context, p *plan, s *servers, bin, dir string, env ...string) (_ *run, err error) {
	r := &run{
		plan: p, dir: dir, servers: s, services: map[string]*process{}, wires: map[string]map[string]*wire{},
		prefix: fmt.Sprintf("seed-%d-%d/", p.number, time.Now().UnixNano()),
		jobs:   map[string]record{}, unknown: map[string]*batch{}, counts: counts{"runs": 1},
	}
	// Each run has a job store of its own. The queues may not exist yet.
	_, _ = s.ctl(ctx, "purge_queue", "--vhost", s.vhost, deadUploads)
	_, _ = s.ctl(ctx, "purge_queue", "--vhost", s.vhost, broker.ForeignResults)
	if err := s.deleteQueue(ctx, broker.OwnerQueue); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	_, _ = command(ctx, "umount", "--lazy", data) // An earlier run may have been killed.
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(data, 0o750)); err != nil {
		return nil, fmt.Errorf("clear the folder of the run: %w", err)
	}
	if r.file, err = os.Create(filepath.Join(dir, "history.jsonl")); err != nil {
		return nil, err
	}
	r.history = slog.New(slog.NewJSONHandler(r.file, nil))
	r.storage = newStorage(s.storage, s.certificate, r.random(1))
	r.good, r.bad = sources(r.random(2))
	r.site = newSite(slices.Concat(r.good, r.bad))
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close(ctx))
		}
	}()
	if r.captions {
		if r.model, err = newModel(r.random(8), func(err error) { r.breach("vision model: %v", err) }); err != nil {
			return nil, err
		}
	}
	if r.postgres {
		err = errors.Join(s.sql(ctx, "DROP DATABASE IF EXISTS chaos WITH (FORCE)"), s.sql(ctx, "CREATE DATABASE chaos"))
	}
	if r.smallDisk {
		_, wrong := command(ctx, "mount", "-t", "tmpfs", "-o", "mode=0700,size=24m", "tmpfs", data)
		err = errors.Join(err, wrong)
	}
	for _, name := range r.names {
		err = errors.Join(err, r.add(name, filepath.Join(bin, programOf(name)), env))
	}
	if s.cluster != nil && err == nil {
		var addrs []string
		for _, name := range r.gateways {
			addrs = append(addrs, r.services[name].addr)
		}
		err = s.cluster.distribute(ctx, s.storage.Host, addrs)
	}
	return r, err
}

// add creates one service with its wires.
func (r *run) add(name, program string, env []string) error {
	r.wires[name] = map[string]*wire{}
	var errs []error
	through := func(to string, target *url.URL) *url.URL {
		wired := *target
		w, err := newWire(target.Host)
		if err == nil {
			r.wires[name][to], wired.Host = w, w.addr
		}
		errs = append(errs, err)
		return &wired
	}
	throughAll := func(to string, targets []*url.URL) (wired []*url.URL) {
		for i, target := range targets {
			wired = append(wired, through(fmt.Sprint(to, " ", i+1), target))
		}
		return wired
	}
	storage, err := url.Parse(r.storage.URL)
	errs = append(errs, err)
	env = append([]string{
		"RABBITMQ_URL=" + strings.Join(urls(throughAll("broker", r.servers.brokers)), ","), "S3_ENDPOINT=" + through("storage", storage).String(),
		"S3_ACCESS_KEY=" + r.servers.key, "S3_SECRET_KEY=" + r.servers.secret, "S3_CREATE_BUCKETS=true",
		"S3_PREFIX_ORIGINAL=" + r.prefix, "S3_PREFIX_PROCESSED=" + r.prefix, "DOWNLOAD_ALLOW_NETWORKS=127.0.0.0/8",
		"JOB_RETENTION=" + cmp.Or(r.retention, 24*time.Hour).String(), "FAILPOINT=analysis", "FAILPOINT_DETAIL=" + poisonName,
		"TLS_CA_FILE=" + r.servers.authority, "FAILPOINT_ORDER=" + r.path(name, "order"), "FAILPOINT_CLOCK=" + r.path(name, "clock"),
	}, env...)
	if programOf(name) == "gateway" {
		r.gateways = append(r.gateways, name)
		if r.postgres {
			databases := throughAll("database", r.servers.databases)
			for _, other := range databases[1:] {
				databases[0].Host += "," + other.Host
			}
			databases[0].Path = "/chaos"
			env = append(env, "DATABASE_URL="+databases[0].String())
		}
	}
	if programOf(name) == "analyzer" && r.model != nil {
		api, err := url.Parse(r.model.URL)
		errs = append(errs, err)
		env = append(env, r.model.env(through("model", api))...)
	}
	r.services[name], err = newProcess(name, program, r.dir, env...)
	return errors.Join(append(errs, err)...)
}

// path returns the path of a file by which the harness controls a service.
func (r *run) path(service, kind string) string { return filepath.Join(r.dir, service+"."+kind) }

// gateway returns gateway i, modulo the number of gateways.
func (r *run) gateway(i int) *process { return r.services[r.gateways[i%len(r.gateways)]] }

// entry returns the address by which clients reach gateway i, or any gateway of a cluster.
func (r *run) entry(i int) string {
	if r.servers.cluster != nil {
		return r.servers.cluster.front
	}
	return r.gateway(i).addr
}

// urls returns the texts of the URLs.
func urls(list []*url.URL) (texts []string) {
	for _, u := range list {
		texts = append(texts, u.String())
	}
	return texts
}

// close stops everything that the run has started.
func (r *run) close(ctx context.Context) (err error) {
	for name, p := range r.services {
		p.kill()
		for _, w := range r.wires[name] {
			if closed := w.disconnect(); !errors.Is(closed, errStuck) {
				err = errors.Join(err, closed)
			}
		}
	}
	for _, server := range []*httptest.Server{r.storage.Server, r.site.Server} {
		server.CloseClientConnections()
		server.Close()
	}
	if r.model != nil {
		r.model.Close()
	}
	_, _ = command(ctx, "umount", "--lazy", filepath.Join(r.dir, "data")) // It may not be mounted.
	return errors.Join(err, r.file.Close())
}

func (r *run) startAll(ctx context.Context) error {
	for _, p := range r.services {
		p.start()
	}
	for _, p := range r.services {
		if err := p.awaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// play starts the services, sends the load, injects the faults and checks the result.
// An error is not a breach: it means that the run could not be executed.
func (r *run) play(ctx context.Context) error {
	batches, injections := r.draw(r)
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
	var clients, polling sync.WaitGroup
	defer polling.Wait()
	defer clients.Wait()
	defer stop()
	polling.Go(func() { r.pollList(follow, 0, "", time.Second, false) })
	for i := range batches {
		clients.Go(func() {
			pause(follow, batches[i].after)
			r.client(follow, i, &batches[i])
		})
	}
	steady, end := context.WithCancel(ctx)
	var injectors, readers sync.WaitGroup
	for at := range r.readers {
		readers.Go(func() { r.pollList(steady, at, "?limit=5", 50*time.Millisecond, true) })
	}
	errs := make([]error, len(injections))
	for i, list := range injections {
		injectors.Go(func() { errs[i] = r.inject(ctx, list) })
	}
	injectors.Wait()
	end()
	readers.Wait()
	healed := time.Now()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	defer time.AfterFunc(endTime+fetchTime, stop).Stop()
	clients.Wait()
	return r.judge(ctx, base, healed)
}
