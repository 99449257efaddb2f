package webhook

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/download"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/stage"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// pauses are the times between the attempts to deliver a message, each with a tenth more or less.
var pauses = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

const (
	// leaseTime is longer than an attempt, so that its outcome can still be recorded.
	leaseTime = 2 * attemptTime
	// pollTime is how often due deliveries are looked for without a wake-up: those of other
	// gateways, and those whose pause has ended.
	pollTime = 5 * time.Second
	// pruneTime is the time between two deletions of old deliveries.
	pruneTime = time.Minute
	// maxRetryAfter limits how much longer a receiver makes a pause.
	maxRetryAfter = 24 * time.Hour
	// drainTime is how long attempts may still take when the gateway stops.
	drainTime = 3 * time.Second
)

// The maximum numbers of concurrent attempts.
const (
	places        = 64
	failingPlaces = places / 2 // to all webhooks whose attempts fail
	ownerPlaces   = places / 4 // to the webhooks of one name
	webhookPlaces = 4          // to one webhook; 1 if its attempts fail
)

// maxPending is the largest number of pending deliveries that the gauge shows.
const maxPending = 10_000

// Config configures a Deliverer.
type Config struct {
	AllowNetworks []netip.Prefix // allowed on any port, in addition to public addresses on 80 and 443
	UserAgent     string
	File          *File // the webhooks of the operator; nil: none
}

// Deps are the dependencies of a Deliverer.
type Deps struct {
	Store   store
	Log     *slog.Logger
	Metrics *telemetry.Registry
	Traces  *telemetry.Tracer // may be nil
	Now     func() time.Time  // default time.Now
}

// Deliverer delivers the messages of a job store.
type Deliverer struct {
	config Config
	deps   Deps
	client *client
	drain  time.Duration // drainTime; less in tests

	attempts *telemetry.Counter
	duration *telemetry.Histogram
	ended    *telemetry.Counter
	disabled *telemetry.Counter

	wake    chan struct{} // holds a token when a delivery may be due
	running sync.WaitGroup

	mu  sync.Mutex // guards all attempts in progress
	use use
}

// use counts the attempts in progress.
type use struct {
	all, failing int
	webhooks     map[string]int
	owners       map[string]int
	deliveries   map[int64]bool
	soon         time.Time // when the first of the deliveries that wait shortly is due
}

// New returns a Deliverer.
func New(c Config, d Deps) *Deliverer {
	if d.Now == nil {
		d.Now = time.Now
	}
	m := d.Metrics
	s := &Deliverer{
		config: c, deps: d, client: newClient(c), drain: drainTime,
		attempts: m.Counter("webhook_attempts_total", "Attempts to deliver a message to a webhook, by outcome. rejected: a status other than 200 to 299.", "outcome").
			From0(delivered, rejected, gone, unreachable, interrupted),
		duration: m.Histogram("webhook_attempt_duration_seconds", "Duration of an attempt to deliver a message to a webhook.", []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10}),
		ended: m.Counter("webhook_deliveries_total", "Deliveries that this gateway has ended, by outcome. failed: the last attempt has failed; dropped: the webhook had too many pending ones.", "outcome").
			From0(delivered, "failed", "dropped"),
		disabled: m.Counter("webhooks_disabled_total", "Webhooks that this gateway has disabled, because of 410 or after five days of failed attempts."),
		wake:     make(chan struct{}, 1),
		use:      use{webhooks: map[string]int{}, owners: map[string]int{}, deliveries: map[int64]bool{}},
	}
	type pending struct {
		n      int
		oldest time.Time
	}
	read := telemetry.Limited(func(ctx context.Context) (p pending, err error) {
		p.n, p.oldest, err = d.Store.PendingDeliveries(ctx, maxPending)
		return p, err
	})
	m.GaugeFunc("webhook_pending_deliveries", "Pending deliveries of all gateways, at most 10000; -1 if the job store is unavailable.", func() float64 {
		p, err := read()
		if err != nil {
			return -1
		}
		return float64(p.n)
	})
	m.GaugeFunc("webhook_oldest_pending_age_seconds", "Age of the oldest pending delivery; 0 if there is none, -1 if the job store is unavailable.", func() float64 {
		p, err := read()
		switch {
		case err != nil:
			return -1
		case p.oldest.IsZero():
			return 0
		}
		return max(0, d.Now().Sub(p.oldest).Seconds())
	})
	return s
}

// Wake signals that a delivery may be due.
func (s *Deliverer) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run delivers messages until ctx is done. Then attempts in progress have drainTime to end; the
// others are returned, so that another gateway repeats them.
func (s *Deliverer) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	if s.config.File != nil {
		wg.Go(func() { s.config.File.run(ctx, s.deps) })
	}
	wg.Go(func() { s.prune(ctx) })
	// Attempts outlive ctx by drainTime.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	complained := false
	for ctx.Err() == nil {
		err := s.round(ctx, working)
		if err != nil && !complained && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "webhooks not delivered yet", "error", err)
		}
		complained = err != nil
		select {
		case <-s.wake:
		case <-time.After(s.wait()):
		case <-ctx.Done():
		}
	}
	late := time.AfterFunc(s.drain, stop)
	defer late.Stop()
	s.running.Wait()
	wg.Wait()
	return nil
}

// wait returns the time until the next round.
func (s *Deliverer) wait() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	soon := s.use.soon
	s.use.soon = time.Time{}
	if soon.IsZero() {
		return pollTime
	}
	return min(max(soon.Sub(s.deps.Now()), 0), pollTime)
}

// round starts attempts for due deliveries while there are places.
func (s *Deliverer) round(ctx, working context.Context) error {
	webhooks, err := s.deps.Store.DueWebhooks(ctx, s.deps.Now())
	if err != nil {
		return err
	}
	// No webhook is always the first to get a place.
	rand.Shuffle(len(webhooks), func(i, j int) { webhooks[i], webhooks[j] = webhooks[j], webhooks[i] })
	for i := range webhooks {
		w := &webhooks[i]
		free := s.free(w)
		if free <= 0 {
			continue
		}
		now := s.deps.Now()
		claimed, err := s.deps.Store.ClaimDeliveries(ctx, w.ID, now, now.Add(leaseTime), free)
		if err != nil {
			return err
		}
		for _, d := range claimed {
			leave, ok := s.enter(w, d)
			if !ok {
				continue // its earlier attempt has not ended yet, and the lease ends again
			}
			s.running.Go(func() {
				defer leave()
				s.attempt(working, w, d)
			})
		}
	}
	return nil
}

// free returns how many attempts to the webhook may start.
func (s *Deliverer) free(w *job.Webhook) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &s.use
	free := min(places-u.all, ownerPlaces-u.owners[w.Owner])
	if w.FailingSince.IsZero() {
		return min(free, webhookPlaces-u.webhooks[w.ID])
	}
	return min(free, failingPlaces-u.failing, 1-u.webhooks[w.ID])
}

// enter takes a place for an attempt until leave is called.
func (s *Deliverer) enter(w *job.Webhook, d job.Delivery) (leave func(), ok bool) {
	failing := 0
	if !w.FailingSince.IsZero() {
		failing = 1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &s.use
	if u.deliveries[d.Seq] {
		return nil, false
	}
	u.deliveries[d.Seq] = true
	count := func(n int) {
		u.all += n
		u.failing += n * failing
		add(u.webhooks, w.ID, n)
		add(u.owners, w.Owner, n)
	}
	count(1)
	return func() {
		s.mu.Lock()
		count(-1)
		delete(u.deliveries, d.Seq)
		s.mu.Unlock()
		s.Wake() // for the place
	}, true
}

// add adds n to the counter of the key, and drops a counter of 0.
func add(counters map[string]int, key string, n int) {
	if counters[key] += n; counters[key] == 0 {
		delete(counters, key)
	}
}

// attempt makes one attempt to deliver a message and records its outcome.
func (s *Deliverer) attempt(ctx context.Context, w *job.Webhook, d job.Delivery) {
	failpoint.Reach("webhook leased", d.JobID)
	started, now := time.Now(), s.deps.Now()
	within, span := s.deps.Traces.Continued(ctx, d.Origin, "webhook")
	span.SetString("job_id", d.JobID)
	span.SetString("server.address", download.Host(w.URL))
	result := s.client.send(within, w, d, now)
	failpoint.Reach("webhook sent", d.JobID)
	span.SetInt("http.response.status_code", int64(result.status))
	if result.outcome != delivered {
		span.Fail(result.outcome, result.text)
	}
	span.End()
	s.attempts.Inc(result.outcome)
	s.duration.Observe(time.Since(started).Seconds())
	a := job.Attempt{At: now, Delivered: result.outcome == delivered, Status: result.status, Error: result.text}
	switch {
	case result.outcome == interrupted:
		s.record(ctx, d, func(ctx context.Context) error { return s.deps.Store.ReturnDelivery(ctx, d) })
		return
	case result.outcome == gone:
		a.Disable = "The receiver has responded with 410 Gone"
	case !a.Delivered && d.Type != job.WebhookTest && d.Attempts < len(pauses):
		pause := pauses[d.Attempts]
		a.Next = now.Add(max(pause*9/10+rand.N(pause/5), min(result.retryAfter, maxRetryAfter)))
	}
	var disabled bool
	if !s.record(ctx, d, func(ctx context.Context) (err error) {
		disabled, err = s.deps.Store.RecordAttempt(ctx, d, a)
		return err
	}) {
		return
	}
	failpoint.Reach("webhook recorded", d.JobID)
	s.recorded(ctx, w, d, a, disabled)
}

// recorded counts and logs what an attempt has changed.
func (s *Deliverer) recorded(ctx context.Context, w *job.Webhook, d job.Delivery, a job.Attempt, disabled bool) {
	about := []any{"webhook_id", w.ID, "owner", w.Owner, "host", download.Host(w.URL), "job_id", d.JobID, "message", d.Message, "attempts", d.Attempts + 1}
	switch {
	case a.Delivered:
		s.ended.Inc(delivered)
		s.deps.Log.DebugContext(ctx, "webhook delivered", about...)
	case a.Next.IsZero():
		s.ended.Inc("failed")
		s.deps.Log.WarnContext(ctx, "webhook delivery failed", append(about, "error", a.Error)...)
	default:
		s.deps.Log.DebugContext(ctx, "webhook attempt failed", append(about, "error", a.Error, "next", a.Next)...)
		s.mu.Lock()
		if s.use.soon.IsZero() || a.Next.Before(s.use.soon) {
			s.use.soon = a.Next
		}
		s.mu.Unlock()
	}
	if disabled {
		s.disabled.Inc()
		s.deps.Log.WarnContext(ctx, "webhook disabled", append(about, "error", a.Error)...)
	}
}

// record repeats do, which may find the job store unavailable, as long as the lease lasts. It
// reports whether do succeeded: if not, the message is sent again.
func (s *Deliverer) record(ctx context.Context, d job.Delivery, do func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTime-attemptTime)
	defer cancel()
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := do(ctx)
		if errors.Is(err, job.ErrLeaseLost) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(stage.NewBackOff()), backoff.WithMaxElapsedTime(0))
	if err != nil {
		s.deps.Log.WarnContext(ctx, "webhook attempt not recorded; the message may be sent again", "webhook_id", d.Webhook, "job_id", d.JobID, "error", err)
	}
	return err == nil
}

// prune deletes old deliveries until ctx is done.
func (s *Deliverer) prune(ctx context.Context) {
	for {
		select {
		case <-time.After(pruneTime):
		case <-ctx.Done():
			return
		}
		dropped, err := s.deps.Store.PruneDeliveries(ctx, s.deps.Now(), job.MaxDeliveries)
		if dropped > 0 {
			s.ended.Add(float64(dropped), "dropped")
			s.deps.Log.WarnContext(ctx, "pending webhook deliveries dropped", "deliveries", dropped)
		}
		if err != nil && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "old webhook deliveries not deleted", "error", err)
		}
	}
}
