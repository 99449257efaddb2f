package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/imagebatch/imagebatch/shared/broker/rabbitmq"
)

// Times of a run.
const (
	endTime   = 60 * time.Second                      // from the last fault to the end of every job
	fetchTime = 60 * time.Second                      // of one image's download, on top
	anewTime  = rabbitmq.DefaultSilence + time.Minute // until a queue without a leader was made anew, on top where there is one
	readyTime = 60 * time.Second                      // of all services, at the beginning
)

// run is one set of services, from its start to the judgement.
type run struct {
	setting
	number  uint64 // of the seed
	dir     string
	history *history
	servers *servers

	services map[string]*process
	gateways []string                    // those of the services that are gateways
	wires    map[string]map[string]*wire // by service and by what it leads to
	storage  *storage
	site     *site
	disk     *disk // nil: an ordinary one
	ledger   *ledger
	alarmed  bool // the broker's limits were changed
	anew     bool // the faults have left a queue without a leader

	mu      sync.Mutex // guards what follows
	ends    map[string]*jobAnswer
	endedAt map[string]time.Time
	folds   map[string]map[int]imageAnswer // what a watcher was told in the end
	since   map[string]time.Time           // of acceptance
	refused int                            // batches that met a full disk
}

// play makes one run: services of their own on the servers, what act does to
// them, and the judgement.
func (h *harness) play(ctx context.Context, s *servers, name string, number uint64, of setting, act func(*run, context.Context, *outcome) error) *outcome {
	o := &outcome{faults: map[string]int{}}
	dir := filepath.Join(h.dir, name)
	if err := s.sound(ctx); err != nil {
		o.infrastructure = err
		return o
	}
	r, err := newRun(ctx, s, h.bin, dir, number, of)
	if err != nil {
		o.infrastructure = err
		return o
	}
	defer func() {
		o.infrastructure = errors.Join(o.infrastructure, r.close(ctx))
		o.breaches = r.history.close()
		if len(o.breaches) == 0 && o.infrastructure == nil && !h.keep {
			o.infrastructure = os.RemoveAll(dir) // nobody needs the history of what went well
		}
	}()
	o.infrastructure = act(r, ctx, o)
	return o
}

// newRun makes the services, not yet started, each on wires of its own to the
// servers. env is theirs besides.
func newRun(ctx context.Context, s *servers, bin, dir string, number uint64, of setting, env ...string) (_ *run, err error) {
	r := &run{
		setting: of, number: number, dir: dir, servers: s, ledger: newLedger(),
		services: map[string]*process{}, wires: map[string]map[string]*wire{},
		ends: map[string]*jobAnswer{}, endedAt: map[string]time.Time{}, folds: map[string]map[int]imageAnswer{}, since: map[string]time.Time{},
	}
	s.ports.clear()
	// The services' data must begin anew, and so must the objects under the prefix.
	leaveDisk(filepath.Join(dir, "data")) // of a run that was killed
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("clear folder of the run: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "data"), 0o750); err != nil {
		return nil, fmt.Errorf("make folder of the run: %w", err)
	}
	if r.history, err = newHistory(filepath.Join(dir, "history.jsonl")); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close(ctx))
			r.history.close()
		}
	}()
	_, _ = s.ctl(ctx, "purge_queue", "--vhost", s.vhost(), deadUploads) // of a run before, which was not judged
	if r.storage, err = newStorage(s.storage, r.random(1)); err != nil {
		return nil, err
	}
	if r.postgres {
		if err := s.createDatabase(ctx, r.database()); err != nil {
			return nil, err
		}
	}
	if r.smallDisk {
		if r.disk, err = newDisk(filepath.Join(dir, "data")); err != nil {
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

// programOf is the program that a service of this name is.
func programOf(name string) string {
	program, _, _ := strings.Cut(name, "-")
	return program
}

// add makes one service with its wires.
func (r *run) add(name, program string, env []string) (err error) {
	r.wires[name] = map[string]*wire{}
	lead := func(to, host string) (string, error) {
		addr, err := r.servers.ports.free()
		if err != nil {
			return "", err
		}
		r.wires[name][to], err = newWire(addr, host)
		return addr, err
	}
	broker := *r.servers.broker
	if broker.Host, err = lead("broker", r.servers.broker.Host); err != nil {
		return err
	}
	storage := url.URL{Scheme: "http"}
	if storage.Host, err = lead("storage", r.storage.address); err != nil {
		return err
	}
	env = append([]string{
		"RABBITMQ_URL=" + broker.String(), "HOME=" + r.dir,
		"S3_ENDPOINT=" + storage.String(), "S3_ACCESS_KEY=" + r.servers.key, "S3_SECRET_KEY=" + r.servers.secret,
		"S3_CREATE_BUCKETS=true", "S3_PREFIX_ORIGINAL=" + r.prefix(), "S3_PREFIX_PROCESSED=" + r.prefix(),
		"DATA_DIR=" + filepath.Join(r.dir, "data"), "DOWNLOAD_ALLOW_NETWORKS=127.0.0.0/8",
		"FAILPOINT_ORDER=" + r.orders(name), "FAILPOINT_CLOCK=" + r.clock(name),
	}, env...)
	if programOf(name) == "gateway" {
		r.gateways = append(r.gateways, name)
		if r.postgres {
			database := *r.servers.database
			database.Path = "/" + r.database()
			if database.Host, err = lead("database", r.servers.database.Host); err != nil {
				return err
			}
			env = append(env, "DATABASE_URL="+database.String())
		}
	}
	addr, err := r.servers.ports.free()
	if err != nil {
		return err
	}
	r.services[name] = newProcess(name, program, addr, r.dir, env...)
	return nil
}

// prefix is where the objects of the run lie. Another run of the seed has another
// one.
func (r *run) prefix() string {
	return fmt.Sprintf("seed-%d-%d/", r.number, r.history.began.UnixNano())
}

// database is the name of the run's own one.
func (r *run) database() string { return fmt.Sprintf("seed_%d", r.number) }

// random is one of the seed's streams of chance.
func (r *run) random(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(r.number, stream)) }

// gateway is one of them, and the one after it for the next number.
func (r *run) gateway(i int) *process { return r.services[r.gateways[i%len(r.gateways)]] }

// close ends everything that the run started.
func (r *run) close(ctx context.Context) error {
	var errs []error
	for _, p := range r.services {
		_ = p.end(syscall.SIGKILL) // killed is what it is to be
	}
	for _, to := range r.wires {
		for _, w := range to {
			if err := w.close(); err != nil && !errors.Is(err, errStuck) {
				errs = append(errs, err)
			}
		}
	}
	if r.storage != nil {
		errs = append(errs, r.storage.close())
	}
	if r.site != nil {
		errs = append(errs, r.site.close())
	}
	if r.disk != nil {
		errs = append(errs, r.disk.close())
	}
	if r.postgres {
		errs = append(errs, r.servers.dropDatabase(ctx, r.database()))
	}
	return errors.Join(errs...)
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
	for _, name := range r.names {
		r.services[name].signal(syscall.SIGCONT)
		r.disarm(name)
		if err := r.setClock(name, 0); err != nil {
			return err
		}
	}
	for name, to := range r.wires {
		for _, w := range to {
			if err := r.loosen(name, w.heal()); err != nil {
				return err
			}
		}
	}
	if r.disk != nil {
		if err := r.disk.free(); err != nil {
			return err
		}
	}
	needed := []string{"rabbitmq", "minio"}
	if r.postgres {
		needed = append(needed, "postgres")
	}
	for _, server := range needed[1:] {
		if err := r.servers.signal(server, syscall.SIGCONT); err != nil {
			r.history.note("fault", "heal", "failed", err.Error()) // it is down, and started next
		}
	}
	if err := r.servers.run(ctx, "start", needed...); err != nil {
		return err
	}
	if r.alarmed {
		if err := r.servers.noAlarms(ctx); err != nil {
			return err
		}
	}
	for _, name := range r.names {
		if err := r.services[name].start(); err != nil {
			return err
		}
	}
	return nil
}

// endBound is the time from the last fault to the end of every job, less the
// downloads: longer when a queue must be made anew first.
func (r *run) endBound() time.Duration {
	if r.anew {
		return endTime + anewTime
	}
	return endTime
}

// lookForLeaders tells whether an end of the broker, of whatever kind, has cost a
// queue its leader.
func (r *run) lookForLeaders(ctx context.Context, o *outcome) error {
	if o.faults["broker kill -9"]+o.faults["broker wiped"]+o.faults["broker stopped"] == 0 {
		return nil
	}
	names, err := r.servers.leaderless(ctx)
	if err != nil || names == "" {
		return err
	}
	r.anew = true
	o.leaderless++
	r.history.note("fault", "queues without a leader", "", names)
	return nil
}

// loosen ends a service of which connections hang in a wire: their end is its
// death. Any other error is given back.
func (r *run) loosen(name string, err error) error {
	if !errors.Is(err, errStuck) {
		return err
	}
	r.history.note("fault", "kill -9 "+name, "", err.Error())
	p := r.services[name]
	_ = p.end(syscall.SIGKILL) // killed is what it is to be
	return p.start()
}

// over notes the end of a job as a reader saw it.
func (r *run) over(id string, j *jobAnswer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends[id], r.endedAt[id] = j, time.Now()
}

// end is a job as a reader saw it end, or nil.
func (r *run) end(id string) *jobAnswer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ends[id]
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

// began notes when a job was accepted.
func (r *run) began(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since[id] = time.Now()
}

// mayBeGone tells whether retention may have taken the job.
func (r *run) mayBeGone(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.retention > 0 && time.Since(r.since[id]) > r.retention
}

// pictures draws the images of the run and opens the site that serves them.
func (r *run) pictures() (good, bad []source, err error) {
	if good, bad, err = pictures(r.random(2)); err != nil {
		return nil, nil, err
	}
	files := map[string][]byte{}
	for _, img := range slices.Concat(good, bad) {
		files[img.name] = img.data
	}
	r.site, err = newSite(files)
	return good, bad, err
}
