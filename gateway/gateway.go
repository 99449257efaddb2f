// Package gateway is the service that owns the batch jobs: it accepts batches, stores
// the jobs, sends their images through the pipeline, settles the results, and serves
// the API and its WebSockets.
package gateway

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/google/uuid"

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/gateway/internal/settle"
	"github.com/imagebatch/imagebatch/gateway/internal/webhook"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/buildinfo"
	"github.com/imagebatch/imagebatch/shared/failpoint"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Deps are the dependencies of the gateway, except the job store, which it opens itself.
type Deps struct {
	Broker               broker.Broker
	Browser              broker.Browser // the same broker; inspects the queues and reads the dead letters
	Originals, Processed objectstore.Store
	Log                  *slog.Logger
	Metrics              *telemetry.Registry
	Traces               *telemetry.Tracer // may be nil
	Faults               func() []string   // of an analyzer in the same process, for /readyz; may be nil
}

// Service is one gateway.
type Service struct {
	deps     Deps
	jobs     *outcomes
	hub      *progress.Hub
	intake   *intake.Intake
	keys     *apikey.Store // nil: no API keys
	webhooks *webhook.Deliverer
	api      *api.Server
	listener net.Listener
	ops      *service.Server // on METRICS_ADDR if it is set, else served by the API
}

// New opens the job store and the gateway's address, and returns the gateway.
func New(ctx context.Context, c Config, d Deps) (_ *Service, err error) {
	s := &Service{deps: d}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	store, err := sqlstore.Open(ctx, c.DatabaseURL.Reveal(), d.Log)
	if err != nil {
		return nil, err
	}
	s.jobs = newOutcomes(store, d.Metrics, d.Traces, failpoint.Now)
	s.hub = progress.New(progress.Config{}, s.jobs, d.Log, d.Metrics)
	s.intake = intake.New(intake.Config{
		MaxImageBytes: c.MaxImageBytes, MaxBatchImages: c.MaxBatchImages, MaxOpenImages: c.MaxOpenImages,
		AllowNetworks: c.DownloadAllowNetworks, AllowHosts: c.DownloadAllowHosts, AllowHeaders: c.DownloadAllowHeaders, Fetchers: c.Concurrency,
		HostConcurrency: c.DownloadHostConcurrency, DownloadMaxWait: c.DownloadMaxWait,
		DownloadHeaderTimeout: c.DownloadHeaderTimeout, DownloadTimeout: c.DownloadTimeout, UserAgent: buildinfo.UserAgent,
		JobRetention: c.JobRetention, ResultRetention: c.resultRetention, CaptionRetention: c.captionRetention,
	}, intake.Deps{
		Jobs: s.jobs, Outbox: s.jobs, Retention: s.jobs, Originals: d.Originals, Processed: d.Processed, Broker: d.Broker,
		Changed: s.changed, Log: d.Log, Metrics: d.Metrics, Traces: d.Traces, Owner: uuid.NewString(), Now: failpoint.Now,
	})
	s.gauges() //nolint:contextcheck // They are read after New has returned.

	if s.keys, err = openKeys(ctx, c, d.Log); err != nil {
		return nil, err
	}
	listed, err := c.webhooks()
	if err != nil {
		return nil, err
	}
	s.webhooks = webhook.New(webhook.Config{AllowNetworks: c.WebhookAllowNetworks, UserAgent: buildinfo.UserAgent, File: listed}, webhook.Deps{ //nolint:contextcheck // Its gauges are read after New has returned.
		Store: s.jobs, Log: d.Log, Metrics: d.Metrics, Traces: d.Traces, Now: failpoint.Now,
	})
	s.jobs.ended = s.webhooks.Wake
	if err := s.webhooks.StoreListed(ctx); err != nil {
		return nil, err
	}

	s.ops, err = service.Listen(ctx, c.MetricsAddr, d.Metrics.Handler(),
		service.Check{Name: "broker", Ready: func(context.Context) error { return d.Broker.Ready() }},
		service.Check{Name: "store of originals", Ready: d.Originals.Ready},
		service.Check{Name: "store of processed images", Ready: d.Processed.Ready},
		service.Check{Name: "job store", Ready: s.jobs.Ready},
	)
	if err != nil {
		return nil, err
	}
	s.ops.ReportFaults(d.Faults)
	onAPI := s.ops.Handler()
	if c.MetricsAddr != "" {
		onAPI = nil
	}
	s.api = api.New(api.Config{ //nolint:contextcheck // A handler uses its request's context.
		MaxImageBytes: c.MaxImageBytes, MaxBatchImages: c.MaxBatchImages,
		MaxConnections: c.MaxConnections, AllowedOrigins: c.origins, AllowedHosts: c.AllowedHosts, TrustedProxies: c.proxies, BasePath: c.BasePath,
		WebhookNetworks: c.WebhookAllowNetworks, KeepAlive: c.KeepAliveTimeout, UploadStall: c.UploadStallTimeout, WSIdleTimeout: c.WSIdleTimeout, WSPingInterval: c.WSPingInterval, Captions: c.captions(), DrainDelay: c.DrainDelay,
		Links: api.Links{Grafana: c.GrafanaURL.Reveal(), RabbitMQ: c.RabbitMQManagementURL.Reveal()},
	}, api.Deps{
		Jobs: s.jobs, Webhooks: s.jobs, Downloads: s.jobs, Deliver: s.webhooks.Wake, Originals: d.Originals, Processed: d.Processed, Intake: s.intake, Hub: s.hub, Broker: d.Broker, Browser: d.Browser,
		Keys: s.keys, Ops: onAPI, Log: d.Log, Metrics: d.Metrics, Traces: d.Traces, Now: failpoint.Now,
		Dependencies: s.ops.Dependencies,
	})
	s.listener, err = listen(ctx, c, d.Log)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// listen opens the gateway's address, with TLS if a certificate is configured.
func listen(ctx context.Context, c Config, log *slog.Logger) (net.Listener, error) {
	if c.TLSCertFile == "" {
		return service.ListenTCP(ctx, "HTTP_ADDR", c.HTTPAddr)
	}
	shown, err := openCertificate(c.TLSCertFile, c.TLSKeyFile, log)
	if err != nil {
		return nil, err
	}
	l, err := service.ListenTCP(ctx, "HTTP_ADDR", c.HTTPAddr)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(l, shown.config()), nil
}

// openKeys opens the store of API keys, or returns nil when API_KEYS_FILE is not set.
func openKeys(ctx context.Context, c Config, log *slog.Logger) (*apikey.Store, error) {
	if c.APIKeysFile == "" {
		log.WarnContext(ctx, "no API keys configured: any client can use the gateway and see all jobs; set API_KEYS_FILE to require keys")
		return nil, nil
	}
	keys, err := apikey.Open(c.APIKeysFile, c.keyLimits(), log)
	if err != nil {
		return nil, fmt.Errorf("API_KEYS_FILE: %w", err)
	}
	return keys, nil
}

// Addr returns the gateway's listening address.
func (s *Service) Addr() net.Addr { return s.listener.Addr() }

// Run runs the gateway until ctx is done. Then it stops accepting requests, aborts
// downloads, finishes the work in flight and closes the job store.
func (s *Service) Run(ctx context.Context) error {
	err := service.RunParts(ctx, s.deps.Log, s.ops,
		service.Part{Name: "progress", Run: s.runHub},
		service.Part{Name: "job events", Run: func(ctx context.Context) error {
			return s.deps.Broker.Subscribe(ctx, pipeline.JobEvents, s.hub.Resumed, s.hub.Receive)
		}},
		service.Part{Name: "webhooks", Run: s.webhooks.Run},
		service.Part{Name: "settle", Run: func(ctx context.Context) error {
			return settle.Run(ctx, settle.Deps{
				Jobs: s.jobs, Store: s.jobs.ID(), Broker: s.deps.Broker, Changed: s.changed, Settled: s.intake.Settled,
				Log: s.deps.Log, Metrics: s.deps.Metrics, Traces: s.deps.Traces, Now: failpoint.Now,
			})
		}},
		service.Part{Name: "intake", Run: s.intake.Run},
		service.Part{Name: "api keys", Run: s.runKeys},
		service.Part{Name: "api", Run: func(ctx context.Context) error { return s.api.Serve(ctx, s.listener) }},
	)
	return errors.Join(err, s.close())
}

func (s *Service) runHub(ctx context.Context) error {
	s.hub.Run(ctx)
	return nil
}

func (s *Service) runKeys(ctx context.Context) error {
	if s.keys == nil {
		<-ctx.Done()
		return nil
	}
	return s.keys.Run(ctx)
}

// changed notifies every gateway that a job has reached a revision. A lost change
// notification only delays the job's watchers by some seconds.
func (s *Service) changed(ctx context.Context, jobID string, revision int64) {
	notification, err := json.Marshal(pipeline.ChangeNotification{JobID: jobID, Revision: revision})
	if err == nil {
		err = s.deps.Broker.Broadcast(ctx, pipeline.JobEvents, notification)
	}
	if err != nil {
		s.deps.Log.DebugContext(ctx, "change notification not sent", "job_id", jobID, "error", err)
	}
}

// gauges registers the gauges of open work.
func (s *Service) gauges() {
	count := telemetry.Limited(s.jobs.Count)
	gauge := func(name, help string, value func(job.Counts) float64) {
		s.deps.Metrics.GaugeFunc(name, help, func() float64 {
			counts, err := count()
			if err != nil {
				return -1
			}
			return value(counts)
		})
	}
	gauge("open_images", "Accepted images that have not ended; -1 if the job store is unavailable.", func(c job.Counts) float64 { return float64(c.OpenImages) })
	gauge("unsent_uploads", "Images whose Upload message is not yet published; -1 if the job store is unavailable.", func(c job.Counts) float64 { return float64(c.Unsent) })
	gauge("oldest_open_job_age_seconds", "Age of the oldest open job; 0 if none is open, -1 if the job store is unavailable.", func(c job.Counts) float64 {
		if c.OldestOpen.IsZero() {
			return 0
		}
		return max(0, failpoint.Now().Sub(c.OldestOpen).Seconds()) // not negative if the clock was set back
	})
}

// close closes what New opened.
func (s *Service) close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.jobs != nil {
		errs = append(errs, s.jobs.Close())
	}
	return errors.Join(errs...)
}
