// Package intake stores the originals of a batch and publishes an Upload for each of them.
//
// It promises that every committed job reaches the pipeline, whatever process dies in
// between: the job store records what to fetch and what to publish in the same transaction
// that creates the work, and the gateway that holds the lease continues it. Inline bytes are
// durable before the job exists, and are deleted if it never does. An outage of a store or of
// the broker fails no image; an image fails only because of itself or its origin. No job can
// take all fetchers, memory or connections from the others.
//
// It does not decide anything about a job: every change is a transition of package job.
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
	"github.com/imagebatch/imagebatch/gateway/internal/intake/pace"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/imagefile"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Config sets the limits of an Intake. A zero field means its default.
type Config struct {
	MaxImageBytes  int64            // 10 MiB
	MaxBatchImages int              // 100
	MaxOpenImages  int              // in all jobs together; 100,000
	Limits         imagefile.Limits // on image dimensions

	AllowNetworks []netip.Prefix // allowed on any port, in addition to public addresses on 80 and 443
	AllowHosts    []string       // the only hosts to download from; empty: all hosts
	AllowHeaders  bool           // whether clients may choose header fields for their URLs
	Fetchers      int            // maximum number of concurrent downloads; 32
	FetchMemory   int64          // total bytes of memory for all downloads; 16 × MaxImageBytes
	UserAgent     string         // "Imagebatch"

	HostConcurrency       int           // maximum number of concurrent downloads from one host; 8
	DownloadMaxWait       time.Duration // of an image for a host that answers 429 or 503; 10 min
	DownloadHeaderTimeout time.Duration // 10 s
	DownloadTimeout       time.Duration // limit of one attempt; 30 s

	JobRetention    time.Duration // from a job's end to its deletion; 24 h
	ResultRetention time.Duration // the same for the processed objects, at least JobRetention; 0 keeps them

	CaptionRetention time.Duration // from the storing of a model's answer to its deletion; 0 keeps it
}

func (c Config) orDefaults() Config {
	c.MaxImageBytes = cmp.Or(c.MaxImageBytes, 10<<20)
	c.MaxBatchImages = cmp.Or(c.MaxBatchImages, 100)
	c.MaxOpenImages = cmp.Or(c.MaxOpenImages, 100_000)
	c.Fetchers = cmp.Or(c.Fetchers, 32)
	c.HostConcurrency = cmp.Or(c.HostConcurrency, 8)
	c.DownloadMaxWait = cmp.Or(c.DownloadMaxWait, 10*time.Minute)
	c.JobRetention = cmp.Or(c.JobRetention, 24*time.Hour)
	if c.ResultRetention != 0 {
		c.ResultRetention = max(c.ResultRetention, c.JobRetention)
	}
	return c
}

// Deps are the dependencies of an Intake.
type Deps struct {
	Jobs                 jobs
	Outbox               outbox
	Retention            retention
	Originals, Processed objectstore.Store
	Broker               broker.Broker
	// Changed is called after every commit that gave a job a new revision.
	Changed func(ctx context.Context, jobID string, revision int64)
	Log     *slog.Logger
	Metrics *telemetry.Registry
	Now     func() time.Time  // default time.Now
	Owner   string            // lease owner: a name that no other process has ever used
	Traces  *telemetry.Tracer // may be nil
}

// jobs is the part of the job store that accepts and changes jobs. When a method returns nil,
// its change is durable. A write that fails with job.ErrUnavailable may have been applied; a
// write that fails with any other error was not.
type jobs interface {
	// Reserve stores, under a lease, a job that is being received, before the first of its
	// objects is stored. It returns job.ErrKeyTaken when another job has the key.
	Reserve(ctx context.Context, id string, l job.Lease, k job.Key) error
	// Create stores the whole job and ends its reservation. It returns job.ErrLeaseLost when
	// the reservation is gone or belongs to another gateway.
	Create(ctx context.Context, j *job.Job) error
	// Release deletes the reservation of a job whose objects the owner has deleted.
	Release(ctx context.Context, id string, l job.Lease) error
	// Renew extends every lease of the owner to until.
	Renew(ctx context.Context, owner string, until time.Time) error
	// Claim leases to the owner up to limit jobs whose lease ended before now, and returns
	// the complete jobs.
	Claim(ctx context.Context, owner string, now, until time.Time, limit int) ([]*job.Job, error)

	Get(ctx context.Context, id string) (*job.Job, error)
	Change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (*job.Job, bool, error)
	Cancel(ctx context.Context, id string, now time.Time) (*job.Job, bool, error)
	Count(ctx context.Context) (job.Counts, error)
}

// outbox is the part of the job store that records which Uploads must be published.
type outbox interface {
	// ID identifies the store. It names the broker's epoch queue and is in every message.
	ID() string
	// Unsent returns up to limit images whose Upload must be published, the oldest first.
	Unsent(ctx context.Context, limit int) ([]job.Unsent, error)
	// MarkSent records that these were published, except those marked unsent again since.
	MarkSent(ctx context.Context, sent []job.Unsent) error
	// Resend marks unsent every open image that has its original and started before the
	// time, and returns how many it marked.
	Resend(ctx context.Context, startedBefore time.Time) (int, error)
}

// retention is the part of the job store that deletes jobs and one-time downloads.
type retention interface {
	// Hide hides up to limit jobs that ended before the time from all responses.
	Hide(ctx context.Context, endedBefore time.Time, limit int) (int, error)
	// Hidden returns up to limit hidden jobs: first those whose originals are not deleted yet,
	// then those whose originals were deleted before goneBefore.
	Hidden(ctx context.Context, endedBefore, goneBefore time.Time, limit int) ([]*job.Job, error)
	// ForgetOriginals records that the originals of a hidden job are deleted, and when.
	ForgetOriginals(ctx context.Context, id string, at time.Time) error
	// Delete permanently removes a hidden job.
	Delete(ctx context.Context, id string) error
	// DropDownloads deletes the one-time downloads that have expired.
	DropDownloads(ctx context.Context, now time.Time) error
}

// Intake accepts batches from the API, which calls Begin; Run does the work in the background.
type Intake struct {
	config    Config
	deps      Deps
	metrics   intakeMetrics
	downloads *download.Client
	schedule  *schedule
	outbox    chan struct{} // holds a token when an Upload may be unsent
	leftovers leftovers
	admission admission
	batches   atomic.Int64  // number of batches that hold a reservation
	activity  atomic.Uint64 // incremented whenever an image makes progress
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

// New returns an Intake and sets the broker's session hook, so it must be called before the
// first Consume.
func New(c Config, d Deps) *Intake {
	c = c.orDefaults()
	if d.Now == nil {
		d.Now = time.Now
	}
	m := d.Metrics
	hosts := newHosts(c, m)
	in := &Intake{
		config: c,
		deps:   d,
		downloads: download.New(download.Config{
			AllowNetworks: c.AllowNetworks, AllowHosts: c.AllowHosts, AllowHeaders: c.AllowHeaders, MaxBytes: c.MaxImageBytes, Memory: c.FetchMemory, UserAgent: c.UserAgent,
			HeaderTimeout: c.DownloadHeaderTimeout, Timeout: c.DownloadTimeout, Hosts: hosts,
		}),
		schedule: newSchedule(c.Fetchers, c.DownloadMaxWait, hosts),
		outbox:   make(chan struct{}, 1),
		metrics: intakeMetrics{
			fetches:   m.Counter("fetches_total", "Downloads of image URLs, by outcome. postponed: the host answered 429 or 503, and the image waits.", "outcome").From0("ok", pipeline.CodeDownloadFailed, "postponed"),
			fetchTime: m.Histogram("fetch_duration_seconds", "Duration of the download of an image URL.", []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}),
			leaseLost: m.Counter("leases_lost_total", "Jobs of this gateway that another gateway took over."),
			waits:     m.Counter("intake_waits_total", "Waits for an unavailable dependency or for download memory, by dependency.", "for").From0("job store", "store of originals", "download memory"),
			sent:      m.Counter("uploads_sent_total", "Upload messages that the broker confirmed."),
			unsent:    m.Counter("uploads_unsent_total", "Publishes of Upload messages that the broker did not confirm; they are repeated."),
			resent:    m.Counter("uploads_resent_total", "Images whose Upload message is sent again, by reason.", "reason").From0("fresh_broker", "stuck"),
			dropped:   m.Counter("leftovers_dropped_total", "Abandoned reservations that exceeded the gateway's list; the next start deletes them."),
			deleted:   m.Counter("retention_deleted_total", "Jobs and objects that retention deleted, by kind.", "kind").From0("job", "original", "result", "orphan", "caption"),
		},
	}
	m.GaugeFunc("download_waiting_images", "Images that wait because their host answered 429 or 503.", in.schedule.limitedImages)
	d.Broker.OnSession(EpochMarker(d.Outbox.ID()), d.Outbox.ID(), in.session)
	return in
}

// newHosts returns what the gateway learns about hosts, with its metrics.
func newHosts(c Config, m *telemetry.Registry) *pace.Table {
	decreases := m.Counter("download_host_decreases_total", "Decreases of the concurrency and rate of a host, by reason: status code, reset or timeout.", "reason")
	for _, r := range pace.Reasons {
		decreases.From0(string(r))
	}
	hosts := pace.New(pace.Config{
		Concurrency: c.HostConcurrency, MaxBlock: c.DownloadMaxWait, Decreased: func(r pace.Reason) { decreases.Inc(string(r)) },
	})
	m.GaugeFunc("download_slowed_hosts", "Hosts that are asked less than DOWNLOAD_HOST_CONCURRENCY permits.", func() float64 {
		slowed, _ := hosts.Count(time.Now())
		return float64(slowed)
	})
	m.GaugeFunc("download_waiting_hosts", "Hosts to which no request is sent for now, after a 429 or 503.", func() float64 {
		_, blocked := hosts.Count(time.Now())
		return float64(blocked)
	})
	return hosts
}

// Run does the work of the intake until ctx is done: it fetches, publishes, renews and takes
// over leases, and deletes expired data. It abandons the fetches that are then in progress; the
// gateway that takes over the job repeats them. It returns nil after all work has stopped.
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

// Settled records that an image has ended, so that the pipeline does not count as stuck.
func (in *Intake) Settled() { in.activity.Add(1) }

// changed announces the job's new revision.
func (in *Intake) changed(ctx context.Context, j *job.Job) {
	in.deps.Changed(ctx, j.ID, j.Revision)
}

// until repeats do while its error is retryable. It returns nil, the first error that is not
// retryable, or ctx's error.
func (in *Intake) until(ctx context.Context, what string, retryable func(error) bool, do func() error) error {
	var once sync.Once
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := do()
		if err != nil && !retryable(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(stage.NewBackOff()), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, _ time.Duration) {
		in.metrics.waits.Inc(what)
		once.Do(func() { in.deps.Log.WarnContext(ctx, "waiting for a dependency", "for", what, "error", err) })
	}))
	return err
}

// lost reports whether the error means that this gateway no longer owns the job.
func lost(err error) bool {
	return errors.Is(err, job.ErrLeaseLost) || errors.Is(err, job.ErrNotFound)
}

// storeRetryable reports whether a change of a job may succeed later. Every error except the
// loss of the job counts as temporary, because the job store must recover at some time.
func storeRetryable(err error) bool { return !lost(err) }

// change applies a transition. It waits out any outage of the job store.
func (in *Intake) change(ctx context.Context, ref job.Ref, t job.Transition, now time.Time) (bool, error) {
	var done bool
	err := in.until(ctx, "job store", storeRetryable, func() error {
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

// every calls do immediately and then after each pause, until ctx is done.
func every(ctx context.Context, d time.Duration, do func(context.Context)) {
	for ctx.Err() == nil {
		do(ctx)
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
}
