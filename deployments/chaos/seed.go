package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Times of a run.
const (
	loadTime   = 8 * time.Second  // over which the batches come
	endTime    = 60 * time.Second // from the last fault to the end of every job
	fetchTime  = 60 * time.Second // of one image's download, on top
	readyTime  = 60 * time.Second // of all services, at the beginning
	shortLived = 20 * time.Second // JOB_RETENTION in every fourth run
)

// outcome is what a run has shown.
type outcome struct {
	seed                 uint64
	jobs, images, faults int
	lost, duplicated     int
	requestsBroken       int // of those to the storage
	longest              time.Duration
	breaches             []string
	infrastructure       error // the run says nothing
	completed, failed    int   // images
}

// run is one seed.
type run struct {
	seed      uint64
	dir       string
	history   *history
	servers   *servers
	names     []string // of the services
	services  map[string]*process
	wires     map[string]*wire
	storage   *storage
	site      *site
	ledger    *ledger
	retention time.Duration // 0: jobs stay for the run

	mu      sync.Mutex // guards what follows
	ends    map[string]*jobAnswer
	endedAt map[string]time.Time
	folds   map[string]map[int]imageAnswer // what a watcher was told in the end
	since   map[string]time.Time           // of acceptance
}

// serviceNames are the services of a run; a service is called as its program is,
// and a number.
func serviceNames() []string { return []string{"gateway", "analyzer-1", "analyzer-2", "processor"} }

func (r *run) gateway() *process { return r.services["gateway"] }

// over notes the end of a job as a reader saw it.
func (r *run) over(id string, j *jobAnswer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends[id], r.endedAt[id] = j, time.Now()
}

// listed notes the end of a job as it stands in the list.
func (r *run) listed(j *jobAnswer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ends[j.JobID] == nil {
		r.ends[j.JobID] = j
	}
}

// finished notes what a watcher was told of a job that has ended.
func (r *run) finished(id string, seen map[int]imageAnswer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.folds[id] = seen
}

// mayBeGone tells whether retention may have taken the job.
func (r *run) mayBeGone(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.retention > 0 && time.Since(r.since[id]) > r.retention
}

// play runs one seed: services of its own on the servers, load, faults, and then
// the judgement.
func play(ctx context.Context, s *servers, bin, dir string, seed uint64) (o outcome) {
	o.seed = seed
	dir = filepath.Join(dir, fmt.Sprintf("seed-%d", seed))
	r, err := newRun(s, bin, dir, seed, serviceNames())
	if err != nil {
		o.infrastructure = err
		return o
	}
	defer func() {
		o.infrastructure = errors.Join(o.infrastructure, r.close())
		o.breaches = r.history.close()
		if len(o.breaches) == 0 && o.infrastructure == nil {
			o.infrastructure = os.RemoveAll(dir) // nobody needs the history of what went well
		}
	}()
	o.infrastructure = r.play(ctx, &o)
	return o
}

// newRun makes the services of these names, not yet started, each on a wire of its
// own to the broker. env is theirs besides.
func newRun(s *servers, bin, dir string, seed uint64, names []string, env ...string) (_ *run, err error) {
	r := &run{
		seed: seed, dir: dir, servers: s, ledger: newLedger(), names: names,
		services: map[string]*process{}, wires: map[string]*wire{},
		ends: map[string]*jobAnswer{}, endedAt: map[string]time.Time{}, folds: map[string]map[int]imageAnswer{}, since: map[string]time.Time{},
	}
	if seed%4 == 3 {
		r.retention = shortLived
	}
	// The services' data must begin anew, and so must the objects under the prefix.
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clear folder of the run: %w", err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make folder of the run: %w", err)
	}
	if r.history, err = newHistory(filepath.Join(dir, "history.jsonl")); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
			r.history.close()
		}
	}()
	if r.storage, err = newStorage(s.storage, r.random(1)); err != nil {
		return nil, err
	}
	for _, name := range names {
		if r.wires[name], err = newWire(s.broker.Host); err != nil {
			return nil, err
		}
		through := *s.broker
		through.Host = r.wires[name].addr()
		env := append([]string{
			"RABBITMQ_URL=" + through.String(), "HOME=" + dir,
			"S3_ENDPOINT=http://" + r.storage.address, "S3_ACCESS_KEY=" + s.key, "S3_SECRET_KEY=" + s.secret,
			"S3_CREATE_BUCKETS=true", "S3_PREFIX_ORIGINAL=" + r.prefix(), "S3_PREFIX_PROCESSED=" + r.prefix(),
			"DATA_DIR=" + filepath.Join(dir, "data"), "DOWNLOAD_ALLOW_NETWORKS=127.0.0.0/8",
		}, env...)
		if r.retention > 0 {
			env = append(env, "JOB_RETENTION="+r.retention.String())
		}
		program, _, _ := strings.Cut(name, "-")
		if r.services[name], err = newProcess(name, filepath.Join(bin, program), dir, env...); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// prefix is where the objects of the run lie. Another run of the seed has another
// one.
func (r *run) prefix() string {
	return fmt.Sprintf("seed-%d-%d/", r.seed, r.history.began.UnixNano())
}

// random is one of the seed's streams of chance.
func (r *run) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(r.seed, stream)) }

// close ends everything that the run started.
func (r *run) close() error {
	var errs []error
	for _, p := range r.services {
		_ = p.end(syscall.SIGKILL) // killed is what it is to be
	}
	for _, w := range r.wires {
		w.close()
	}
	if r.storage != nil {
		errs = append(errs, r.storage.close())
	}
	if r.site != nil {
		errs = append(errs, r.site.close())
	}
	return errors.Join(errs...)
}

// play returns an error when the run could not be made, which is no breach.
func (r *run) play(ctx context.Context, o *outcome) error {
	good, bad, err := pictures(r.random(2))
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	for _, img := range slices.Concat(good, bad) {
		files[img.name] = img.data
	}
	if r.site, err = newSite(files); err != nil {
		return err
	}
	batches := planBatches(r.random(3), r.site, good, bad, 14, loadTime)
	onServices := planBlows(r.random(4), serviceFaults, r.names, 5)
	onServers := planBlows(r.random(5), serverFaults, doomed, 3)

	if err := r.startAll(ctx); err != nil {
		return err
	}
	base, err := r.resources(ctx)
	if err != nil {
		return err
	}

	follow, stop := context.WithCancel(ctx)
	defer stop()
	var clients, faults sync.WaitGroup
	var mu sync.Mutex // guards o.faults
	clients.Go(func() { r.overlook(follow) })
	var users sync.WaitGroup
	for i := range batches {
		users.Go(func() {
			pause(follow, batches[i].after)
			r.client(follow, &batches[i], uint64(100+i))
		})
	}
	for _, blows := range [][]blow{onServices, onServers} {
		faults.Go(func() {
			n := r.deal(ctx, blows)
			mu.Lock()
			defer mu.Unlock()
			o.faults += n
		})
	}
	faults.Wait()
	if err := r.heal(ctx); err != nil {
		stop()
		users.Wait()
		clients.Wait()
		return err
	}
	healed := time.Now()
	r.history.note("fault", "all healed", "", nil)
	give := time.AfterFunc(endTime+fetchTime, stop)
	users.Wait()
	give.Stop()
	stop()
	clients.Wait()
	return r.judge(ctx, o, base, healed)
}

// client is one user: it submits a batch, watches it, and reads it.
func (r *run) client(ctx context.Context, b *batch, stream uint64) {
	id, err := r.submit(ctx, b)
	if err != nil {
		if !errors.Is(err, errUnknown) {
			r.history.breach("batch %s was never accepted: %v", b.images[0].name, err)
		}
		return
	}
	r.mu.Lock()
	r.since[id] = time.Now()
	r.mu.Unlock()
	var following sync.WaitGroup
	following.Go(func() { r.watch(ctx, id) })
	following.Go(func() { r.read(ctx, id, r.random(stream)) })
	following.Wait()
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

// heal sees that everything is as it should be, whatever the faults have left.
func (r *run) heal(ctx context.Context) error {
	r.storage.heal()
	for _, w := range r.wires {
		w.heal()
	}
	if err := r.servers.signal("minio", syscall.SIGCONT); err != nil {
		r.history.note("fault", "heal", "failed", err.Error()) // it is down, and started next
	}
	if err := r.servers.run(ctx, "start", "rabbitmq", "minio"); err != nil {
		return err
	}
	if _, err := r.servers.ctl(ctx, "set_vm_memory_high_watermark", "0.4"); err != nil {
		return err
	}
	for _, name := range r.names {
		if how := r.services[name].died(); how != "" {
			r.history.breach("%s", how)
		}
		r.services[name].signal(syscall.SIGCONT)
		if err := r.services[name].start(); err != nil {
			return err
		}
	}
	return nil
}
