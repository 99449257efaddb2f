// Package api is the gateway's HTTP side: the table of routes (routes.go), the
// table of refusals (refusals.go), the JSON shapes, the WebSocket, and the event stream.
//
// It implements docs/batch-api.md exactly, and docs/api-extensions.md. Every error of
// the server, including the errors of net/http and of the WebSocket upgrade, is
// {"error", "status"}. An error that is not the client's fault reveals no internals;
// they are in the log. HEAD works like GET.
//
// The cost of a client is bounded. Its header must arrive within 10 s and is at most 64
// KiB. Its body must arrive at 10 kB/s or more, for as long as it takes, and may stall for
// 30 s. It is decoded as it arrives, and read image by image while there is memory for its
// decoder and its largest image. The client must take each write of a response within 30 s,
// and a ZIP file, which holds memory, at 10 kB/s or more. A WebSocket must respond to a ping
// within its idle time, and take each frame within 10 s, as must an event stream.
//
// If there are API keys, every request needs one, except requests for the pages, the
// limits, the descriptions, one-time downloads and /healthz. On every route, a job exists only for its owner and for operators.
//
// The package decides nothing about jobs and keeps no state but its connections and
// quotas. It is the only importer of Echo and of the WebSocket library. The quotas
// are the token buckets of golang.org/x/time/rate.
package api

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/coding"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/openapi"
	"github.com/imagebatch/imagebatch/gateway/internal/origin"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/gateway/internal/proxy"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Config configures a Server. A zero field means its default.
type Config struct {
	MaxImageBytes   int64          // of one image, decoded; 10 MiB
	MaxBatchImages  int            // 100
	UploadMemory    int64          // bytes of the image buffers of all requests that are being read; 256 MiB
	ArchiveMemory   int64          // bytes of the image buffers of all downloads of results.zip; 128 MiB
	MaxConnections  int            // concurrent, WebSockets and event streams included; 14,000
	AllowedOrigins  origin.List    // origins whose pages are allowed, in addition to the server's own
	AllowedHosts    []string       // names, with or without a port, that requests may be sent to; empty: any
	TrustedProxies  proxy.Trusted  // proxies whose reports about a request are believed; empty: none
	BasePath        string         // prefix of the paths of the API and the page, such as /images; empty: none
	WebhookNetworks []netip.Prefix // networks to which the URLs of webhooks may point, in addition to public addresses
	KeepAlive       time.Duration  // time for which an idle connection is kept; 620 s
	UploadStall     time.Duration  // time for which a body may be behind its minimum speed, and so be silent; 30 s
	WSIdleTimeout   time.Duration  // time for which the peer of a WebSocket may be silent; 60 s
	WSPingInterval  time.Duration  // time between two pings of a WebSocket, or comments of an event stream; 25 s, or 5/12 of WSIdleTimeout if that is shorter
	Captions        *Captions      // nil: no vision model sees the images
	Links           Links          // other pages for operators
	DrainDelay      time.Duration  // time for which the server still accepts requests after the signal to stop; 0

	pace    pace // of request bodies; other in tests
	spare   int  // concurrent connections past the limit that get a 503
	counted int  // number up to which jobs are counted; 1,000
}

func (c Config) orDefaults() Config {
	c.MaxImageBytes = cmp.Or(c.MaxImageBytes, 10<<20)
	c.MaxBatchImages = cmp.Or(c.MaxBatchImages, 100)
	c.UploadMemory = cmp.Or(c.UploadMemory, 256<<20)
	c.ArchiveMemory = cmp.Or(c.ArchiveMemory, 128<<20)
	c.MaxConnections = cmp.Or(c.MaxConnections, 14_000)
	c.KeepAlive = cmp.Or(c.KeepAlive, 620*time.Second)
	c.WSIdleTimeout = cmp.Or(c.WSIdleTimeout, time.Minute)
	c.WSPingInterval = cmp.Or(c.WSPingInterval, min(25*time.Second, MaxPingInterval(c.WSIdleTimeout)))
	c.spare = cmp.Or(c.spare, maxTurnedAway)
	c.counted = cmp.Or(c.counted, maxCounted)
	c.pace = cmp.Or(c.pace, pace{10_000, cmp.Or(c.UploadStall, 30*time.Second)})
	return c
}

// Deps are the dependencies of a Server.
type Deps struct {
	Jobs      jobs
	Webhooks  webhooks
	Downloads downloads
	Deliver   func()  // called when a webhook has a new delivery
	Originals results // store of originals
	Processed results // store of processed images
	Intake    *intake.Intake
	Hub       *progress.Hub // run by the gateway
	Broker    publisher
	Browser   broker.Browser // inspects the queues and reads the dead letters
	Keys      *apikey.Store  // run by the gateway; nil: every client may do everything
	Ops       http.Handler   // handler of /healthz, /readyz and /metrics; nil if they have a separate address
	Log       *slog.Logger
	Metrics   *telemetry.Registry
	Traces    *telemetry.Tracer // may be nil
	Now       func() time.Time  // for the start and the times of webhooks and downloads; default time.Now

	Dependencies func(ctx context.Context) []service.Dependency // checks the dependencies; nil: none
}

// jobs is the part of the job store that responses need.
type jobs interface {
	Get(ctx context.Context, id string) (*job.Job, error)
	Keyed(ctx context.Context, k job.Key) (*job.Job, error)
	List(ctx context.Context, q job.Query) (job.Page, error)
	Tally(ctx context.Context, v job.Viewer, most int) (job.Tally, error)
	Owned(ctx context.Context, owner string) (int, error)
	OpenImages(ctx context.Context, owner string) (int, error)
	Count(ctx context.Context) (job.Counts, error)
}

// webhooks is the part of the job store with the webhooks and their deliveries.
type webhooks interface {
	AddWebhook(ctx context.Context, w job.Webhook) error
	Webhooks(ctx context.Context, v job.Viewer) ([]job.Webhook, error)
	Webhook(ctx context.Context, id string) (job.Webhook, error)
	RotateSecret(ctx context.Context, id string, secret job.Secret, until time.Time) (job.Webhook, error)
	RemoveWebhook(ctx context.Context, id string, at time.Time) error
	AddTest(ctx context.Context, d job.Delivery) error
	Deliveries(ctx context.Context, webhook string, before int64, limit int) ([]job.Delivery, error)
}

// downloads is the part of the job store with the one-time downloads.
type downloads interface {
	AddDownload(ctx context.Context, d job.Download, now time.Time) error
	Download(ctx context.Context, hash string, now time.Time) (job.Download, error)
	TakeDownload(ctx context.Context, hash string, now time.Time) (job.Download, error)
}

// results is the part of an objectstore.Store that reads objects.
type results interface {
	Get(ctx context.Context, key string) (*objectstore.Object, error)
	GetPart(ctx context.Context, key, etag string, offset, length int64) (*objectstore.Object, error)
	Stat(ctx context.Context, key string) (objectstore.Info, error)
}

// Server serves the API.
type Server struct {
	config  Config
	deps    Deps
	limits  body.Limits
	maxBody int64
	release string // short name of the build
	table   []Route
	echo    *echo.Echo
	uploads *uploadMemory
	zips    *uploadMemory
	quotas  *quotas
	metrics apiMetrics

	described func() (*openapi.Description, error)

	places, spare chan struct{} // an element for each open connection, within the limit and past it
	arriving      atomic.Int64  // connections with an arriving request: new ones, and those whose request net/http reads
	idle          idleConns     // connections without a request

	leaving chan struct{}   // closed on the signal to stop
	closing context.Context // done when the server accepts no more requests
	close   context.CancelFunc

	reading chan struct{} // of one place, taken while dead letters are read

	started time.Time
	system  recent[systemJSON]

	mu      sync.Mutex // guards drained, after which running does not grow
	drained bool
	running sync.WaitGroup // requests, WebSockets and event streams
}

// New returns a server. Serve runs it; tests may use its Handler alone.
func New(c Config, d Deps) *Server {
	c = c.orDefaults()
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Dependencies == nil {
		d.Dependencies = func(context.Context) []service.Dependency { return nil }
	}
	s := &Server{
		config: c, deps: d,
		limits:  body.Limits{Images: c.MaxBatchImages, ImageBytes: c.MaxImageBytes},
		maxBody: largestBody(c.MaxBatchImages, c.MaxImageBytes),
		uploads: newUploadMemory(c.UploadMemory, c.MaxImageBytes+window+coding.MaxMemory+intake.AheadBytes),
		zips:    newArchiveMemory(c.ArchiveMemory, c.MaxImageBytes),
		quotas:  &quotas{of: map[string]*usage{}},
		release: releaseTag(),
		metrics: newAPIMetrics(d.Metrics),

		described: sync.OnceValues(func() (*openapi.Description, error) { return openapi.New(c.BasePath) }),

		started: d.Now(), system: recent[systemJSON]{age: systemAge},

		places: make(chan struct{}, c.MaxConnections), spare: make(chan struct{}, c.spare),
		leaving: make(chan struct{}), reading: make(chan struct{}, 1),
	}
	s.closing, s.close = context.WithCancel(context.Background())
	d.Metrics.GaugeFunc("connections", "Open connections, including WebSockets and event streams.", func() float64 { return float64(len(s.places)) })
	s.table = s.routes()
	s.echo = s.router()
	return s
}

// Handler returns the handler of all requests. Serve adds what depends on a listener.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if s.drained {
			s.mu.Unlock()
			return // the connection is closed already
		}
		s.running.Add(1)
		s.mu.Unlock()
		defer s.running.Done()

		select {
		case <-s.leaving: // the next request of this client must reach another server
			w.Header().Set("Connection", "close")
		default:
		}
		if len(r.TransferEncoding) > 0 {
			// A length may have come with the chunks; net/http follows the chunks and hides
			// it. A proxy that follows the length treats the rest as another client's
			// request, so nothing after the chunks is read (RFC 9112, section 6.1).
			w.Header().Set("Connection", "close")
		}
		if c := connOf(r); c != nil {
			c.handled.Store(true)
			c.arrive(false)
		}
		s.echo.ServeHTTP(newResponseWriter(w), r)
	})
}
