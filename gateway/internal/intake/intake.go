// Package intake turns the sources of a batch into stored originals and gets
// each one's Upload published.
//
// It promises that a job that was committed reaches the pipeline whatever ends
// in between: what is to be fetched and what is to be published stands in the
// job store, in the transaction that made it so, and is taken up again by
// whoever holds the lease. Inline bytes are durable before the job exists, and are
// deleted when it never does. An outage of a store or of the broker fails no
// image; only the image's own fault or its origin's does. No job can take all
// fetchers, all memory or all connections from the others.
//
// It refuses to decide anything about a job itself: every change is a
// transition of the package job.
package intake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/download"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Config is what an Intake may do. A field that is zero means its default.
type Config struct {
	MaxImageBytes  int64            // 10 MiB
	MaxBatchImages int              // 100
	MaxOpenImages  int              // of all jobs together; 100,000
	Limits         imagefile.Limits // of a picture

	AllowNetworks []netip.Prefix // may be downloaded from on any port, beside public addresses on 80 and 443
	AllowHosts    []string       // the only ones that are downloaded from; empty: every one
	Fetchers      int            // downloads begun at once; those that turn out slow make room, up to 8 times as many; 32
	FetchMemory   int64          // bytes that all downloads hold together; 16 × MaxImageBytes
	UserAgent     string         // "Imagebatch"

	JobRetention    time.Duration // from a job's end to its deletion; 24 h
	ResultRetention time.Duration // the same for the processed objects, at least JobRetention; 0 keeps them
}

func (c Config) orDefaults() Config {
	c.MaxImageBytes = cmp.Or(c.MaxImageBytes, 10<<20)
	c.MaxBatchImages = cmp.Or(c.MaxBatchImages, 100)
	c.MaxOpenImages = cmp.Or(c.MaxOpenImages, 100_000)
	c.Fetchers = cmp.Or(c.Fetchers, 32)
	c.JobRetention = cmp.Or(c.JobRetention, 24*time.Hour)
	if c.ResultRetention != 0 {
		c.ResultRetention = max(c.ResultRetention, c.JobRetention)
	}
	return c
}

// Deps are what an Intake works with.
type Deps struct {
	Jobs                 jobs
	Outbox               outbox
	Retention            retention
	Originals, Processed objectstore.Store
	Broker               broker.Broker
	// Changed is called after every commit that gave a job its revision.
	Changed func(ctx context.Context, jobID string, revision int64)
	Log     *slog.Logger
	Metrics *telemetry.Registry
	Now     func() time.Time  // default time.Now
	Owner   string            // of the leases: a name that no other process has or had
	Traces  *telemetry.Tracer // may be nil
}

// jobs is the part of the job store that takes jobs in. A method that returns nil has made
// its change durable; a write that fails with job.ErrUnavailable may have been made all the
// same, and one that fails with any other error was not.
type jobs interface {
	// Reserve stores a job that is being received under a lease before the first of its
	// objects is stored. It returns job.ErrKeyTaken when another job has the key.
	Reserve(ctx context.Context, id string, l job.Lease, k job.Key) error
	// Create stores the whole job and ends its reservation. It returns job.ErrLeaseLost when
	// another gateway has the reservation or it is gone.
	Create(ctx context.Context, j *job.Job) error
	// Release forgets a reserved job, whose objects its owner has deleted.
	Release(ctx context.Context, id string, l job.Lease) error
	// Renew moves the end of every lease of the owner to until.
	Renew(ctx context.Context, owner string, until time.Time) error
	// Claim gives the owner the lease of up to limit jobs whose lease has ended before now,
	// and returns them whole.
	Claim(ctx context.Context, owner string, now, until time.Time, limit int) ([]*job.Job, error)

	Get(ctx context.Context, id string) (*job.Job, error)
	Change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (*job.Job, bool, error)
	Cancel(ctx context.Context, id string, now time.Time) (*job.Job, bool, error)
	Count(ctx context.Context) (job.Counts, error)
}

// outbox is the part of the job store that knows which Uploads are to be published.
type outbox interface {
	// ID names the broker's epoch queue.
	ID() string
	// Unsent returns up to limit images whose Upload is to be published, the oldest first.
	Unsent(ctx context.Context, limit int) ([]job.Unsent, error)
	// MarkSent records that these were published, unless they were marked unsent again since.
	MarkSent(ctx context.Context, sent []job.Unsent) error
	// Resend marks every open image that has its original and has started before the time
	// unsent again, and returns how many.
	Resend(ctx context.Context, startedBefore time.Time) (int, error)
}

// retention is the part of the job store that deletes jobs.
type retention interface {
	// Hide takes up to limit jobs that ended before the time out of every answer.
	Hide(ctx context.Context, endedBefore time.Time, limit int) (int, error)
	// Hidden returns up to limit hidden jobs, first those whose originals are not yet gone,
	// then those whose originals went before goneBefore.
	Hidden(ctx context.Context, endedBefore, goneBefore time.Time, limit int) ([]*job.Job, error)
	// ForgetOriginals records that the originals of a hidden job are deleted, and when.
	ForgetOriginals(ctx context.Context, id string, at time.Time) error
	// Delete removes a hidden job for good.
	Delete(ctx context.Context, id string) error
}

// Intake is the way in. New gives it to the API, and Run does its work.
type Intake struct {
	config    Config
	deps      Deps
	metrics   intakeMetrics
	downloads *download.Client
	schedule  *schedule
	outbox    chan struct{} // a token when something may be unsent
	leftovers leftovers
	admission admission
	batches   atomic.Int64  // that hold a reservation
	activity  atomic.Uint64 // grows whenever an image gets on
}

type intakeMetrics struct {
	fetches   *telemetry.Counter
	fetchTime *telemetry.Histogram
	leaseLost *telemetry.Counter
	waits     *telemetry.Counter
	sent      *telemetry.Counter
	unsent    *telemetry.Counter
	resent    *telemetry.Counter
	dropped   *telemetry.Counter
	deleted   *telemetry.Counter
}

// New makes an Intake and sets the broker's session hook, so it comes before the
// first Consume.
func New(c Config, d Deps) *Intake {
	c = c.orDefaults()
	if d.Now == nil {
		d.Now = time.Now
	}
	m := d.Metrics
	in := &Intake{
		config: c,
		deps:   d,
		downloads: download.New(download.Config{
			AllowNetworks: c.AllowNetworks, AllowHosts: c.AllowHosts, MaxBytes: c.MaxImageBytes, Memory: c.FetchMemory, UserAgent: c.UserAgent,
		}),
		schedule: newSchedule(c.Fetchers),
		outbox:   make(chan struct{}, 1),
		metrics: intakeMetrics{
			fetches:   m.Counter("fetches_total", "Downloads of image URLs, by outcome.", "outcome").From0("ok", pipeline.CodeDownloadFailed),
			fetchTime: m.Histogram("fetch_duration_seconds", "Duration of the download of an image URL.", []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}),
			leaseLost: m.Counter("leases_lost_total", "Jobs of this gateway that another gateway took over."),
			waits:     m.Counter("intake_waits_total", "Waits for an unavailable dependency or for download memory, by dependency.", "for").From0("job store", "store of originals", "download memory"),
			sent:      m.Counter("uploads_sent_total", "Upload messages that the broker confirmed."),
			unsent:    m.Counter("uploads_unsent_total", "Publishes of Upload messages that the broker did not confirm; they are repeated."),
			resent:    m.Counter("uploads_resent_total", "Images whose Upload message is sent again, by reason.", "reason").From0("fresh_broker", "stuck"),
			dropped:   m.Counter("leftovers_dropped_total", "Abandoned reservations that exceeded the gateway's list; the next start deletes them."),
			deleted:   m.Counter("retention_deleted_total", "Jobs and objects that retention deleted, by kind.", "kind").From0("job", "original", "result", "orphan"),
		},
	}
	d.Broker.OnSession(epochMarker(d.Outbox.ID()), in.session)
	return in
}

// Run does the work of the intake until ctx ends: it fetches, publishes, renews
// and takes over leases, and sweeps. A fetch that is under way then is given up and
// is done again by whoever takes the job over. It returns nil when all has ended.
func (in *Intake) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, work := range []func(context.Context){
		in.fetchAll, in.relay, in.renewLeases, in.takeOver, in.resendStuck, in.retain,
	} {
		wg.Go(func() { work(ctx) })
	}
	wg.Wait()
	return nil
}

// Settled notes that an image has ended: the pipeline gets on.
func (in *Intake) Settled() { in.activity.Add(1) }

// changed tells whoever watches the job that it has a new revision.
func (in *Intake) changed(ctx context.Context, j *job.Job) {
	in.deps.Changed(ctx, j.ID, j.Revision)
}

// until repeats do while its error is one that waiting mends. It returns nil, an
// error that waiting does not mend, or ctx's.
func (in *Intake) until(ctx context.Context, what string, mends func(error) bool, do func() error) error {
	var once sync.Once
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := do()
		if err != nil && !mends(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(stage.NewBackOff()), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		in.metrics.waits.Inc(what)
		once.Do(func() { in.deps.Log.WarnContext(ctx, "waiting for a dependency", "for", what, "error", err) })
	}))
	return err
}

// lost reports whether the error says that the job is no longer ours.
func lost(err error) bool {
	return errors.Is(err, job.ErrLeaseLost) || errors.Is(err, job.ErrNotFound)
}

// storeMends reports whether a change of a job may succeed later. All but a lost
// job may: what a job store cannot do now it must do some time.
func storeMends(err error) bool { return !lost(err) }

// change applies a transition, through an outage of any length.
func (in *Intake) change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (bool, error) {
	var done bool
	err := in.until(ctx, "job store", storeMends, func() error {
		j, changed, err := in.deps.Jobs.Change(ctx, ref, t, now)
		if err != nil {
			return fmt.Errorf("change image %d of job %s: %w", ref.Index, ref.JobID, err)
		}
		if done = changed; changed {
			in.activity.Add(1)
			in.changed(ctx, j)
		}
		return nil
	})
	return done, err
}

// every calls do at once and then after each pause, until ctx ends.
func every(ctx context.Context, d time.Duration, do func(context.Context)) {
	for ctx.Err() == nil {
		do(ctx)
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
}
