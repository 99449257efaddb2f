// Package api is the gateway's HTTP side: the routes, the JSON shapes, the one
// table from errors to statuses, and the WebSocket.
//
// It promises docs/batch-api.md to the letter, and docs/api-extensions.md. Every error that the server can
// produce, those of net/http and of the WebSocket upgrade included, is
// {"error", "status"}; what is not the client's fault says nothing about the
// inside, and the log tells the rest. GET is answered to HEAD as well.
//
// Whatever a client does costs a bounded amount: a header arrives within 10 s
// and is at most 64 KiB, a body arrives at 10 kB/s or more for as long as it
// takes, is read image by image and only while there is room for its largest
// image, a response is taken within 30 s of each write, a WebSocket answers a
// ping within its idle time.
//
// Where there are API keys, every request but those for the page and for /healthz
// needs one; a job is there only for its owner and for operators, on every route.
//
// It decides nothing about jobs and keeps no state but its connections and quotas. It is the
// only importer of Echo and of the WebSocket library.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/keyring"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// Config is what the server may do. A field that is zero means its default.
type Config struct {
	MaxImageBytes  int64         // of one image, decoded; 10 MiB
	MaxBatchImages int           // 100
	UploadMemory   int64         // bytes of image buffers of all requests that are read at once; 256 MiB
	MaxConnections int           // at once, WebSockets among them; 14,000
	AllowedOrigins []string      // scheme://host[:port] whose pages are let in besides the server's own
	AllowedHosts   []string      // names, with or without a port, that requests may be sent to; empty: any
	WSIdleTimeout  time.Duration // how long a WebSocket's peer may be silent; 60 s
	DrainDelay     time.Duration // how long the server still takes requests when it is told to stop; 0

	pace  pace // of request bodies; tests have less patience
	spare int  // connections that are turned away at once
}

func (c Config) orDefaults() Config {
	if c.MaxImageBytes == 0 {
		c.MaxImageBytes = 10 << 20
	}
	if c.MaxBatchImages == 0 {
		c.MaxBatchImages = 100
	}
	if c.UploadMemory == 0 {
		c.UploadMemory = 256 << 20
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 14_000
	}
	if c.spare == 0 {
		c.spare = maxTurnedAway
	}
	if c.WSIdleTimeout == 0 {
		c.WSIdleTimeout = time.Minute
	}
	if c.pace == (pace{}) {
		c.pace = pace{10_000, 10 * time.Second}
	}
	return c
}

// Deps are what the server works with.
type Deps struct {
	Jobs      jobs
	Processed results // store of processed images
	Intake    *intake.Intake
	Hub       *progress.Hub // its Run is somebody else's
	Keys      *keyring.Ring // its Run is somebody else's too; nil: whoever comes may do everything
	Ops       http.Handler  // of /healthz, /readyz and /metrics; nil when they are elsewhere
	Log       *slog.Logger
	Metrics   *telemetry.Registry
	Traces    *telemetry.Tracer // may be nil
}

// jobs is the part of a job.Store that answers are made from.
type jobs interface {
	Get(ctx context.Context, id string) (*job.Job, error)
	Keyed(ctx context.Context, k job.Key) (*job.Job, error)
	List(ctx context.Context, v job.Viewer, after job.Cursor, limit int) ([]*job.Job, error)
	Owned(ctx context.Context, owner string) (int, error)
	OpenImages(ctx context.Context, owner string) (int, error)
	Count(ctx context.Context) (job.Counts, error)
}

// results is the part of an objectstore.Store that results are read from.
type results interface {
	Get(ctx context.Context, key string) (*objectstore.Object, error)
	Stat(ctx context.Context, key string) (objectstore.Info, error)
}

// Server answers the API.
type Server struct {
	config  Config
	deps    Deps
	limits  body.Limits
	maxBody int64
	echo    *echo.Echo
	uploads *uploads
	quotas  *quotas
	figures figures

	arrivals    arrivals // of connections that Serve has taken
	connections connections

	leaving chan struct{} // closed when the server is told to stop
	closing chan struct{} // closed when it takes nothing more

	mu      sync.Mutex // guards drained, and keeps running from growing after it
	drained bool
	running sync.WaitGroup // requests and WebSockets
}

// New makes a server. Serve runs it; tests may use its Handler alone.
func New(c Config, d Deps) *Server {
	c = c.orDefaults()
	s := &Server{
		config: c, deps: d,
		limits: body.Limits{Images: c.MaxBatchImages, ImageBytes: c.MaxImageBytes},
		// What the largest batch takes in base64, with 64 KiB beside each image.
		maxBody: int64(c.MaxBatchImages) * ((c.MaxImageBytes+2)/3*4 + 64<<10),
		uploads: newUploads(c.UploadMemory, c.MaxImageBytes),
		quotas:  newQuotas(),
		figures: newFigures(d.Metrics),
		leaving: make(chan struct{}), closing: make(chan struct{}),
	}
	s.connections.most, s.connections.spare = c.MaxConnections, c.spare
	d.Metrics.GaugeFunc("connections", "Open connections, WebSockets among them.", s.connections.count)
	s.echo = s.routes()
	return s
}

// The paths of the API; they are labels of metrics too.
const (
	pathBatch     = "/api/v1/batch"
	pathJob       = "/api/v1/batch/:job_id"
	pathCancel    = "/api/v1/batch/:job_id/cancel"
	pathRetry     = "/api/v1/batch/:job_id/retry"
	pathSocket    = "/api/v1/batch/:job_id/ws"
	pathFile      = "/api/v1/batch/:job_id/images/:index/file"
	pathThumbnail = "/api/v1/batch/:job_id/images/:index/thumbnail"
	pathMetadata  = "/api/v1/batch/:job_id/images/:index/metadata"
	pathSidecar   = "/api/v1/batch/:job_id/images/:index/xmp"
)

func (s *Server) routes() *echo.Echo {
	e := echo.New()
	e.Logger.SetOutput(discard{})
	e.HTTPErrorHandler = s.fail
	e.Use(s.observe, s.identify, s.ration)
	get := func(path string, h echo.HandlerFunc) { e.Match([]string{http.MethodGet, http.MethodHead}, path, h) }

	e.POST(pathBatch, s.create)
	get(pathBatch, s.list)
	get(pathJob, s.status)
	e.POST(pathCancel, s.cancel)
	e.POST(pathRetry, s.retry)
	get(pathSocket, s.watch)
	get(pathFile, s.result(fileOf))
	get(pathThumbnail, s.result(thumbnailOf))
	get(pathMetadata, s.result(metadataOf))
	get(pathSidecar, s.result(sidecarOf))
	for path, p := range pages {
		get(path, p.serve)
	}
	if s.deps.Ops != nil {
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			e.Any(path, echo.WrapHandler(s.deps.Ops))
		}
	}
	return e
}

// Handler answers every request. Serve adds what a listener needs.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.drained {
		s.mu.Unlock()
		return // the connection is closed already
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()

	select {
	case <-s.leaving: // The next request of this client is to find another server.
		w.Header().Set("Connection", "close")
	default:
	}
	if len(r.TransferEncoding) > 0 {
		// A length may have come beside the chunks; net/http goes by the chunks and hides
		// it. A proxy that goes by the length takes what is left for another client's
		// request, so nothing after the chunks is read (RFC 9112, section 6.1).
		w.Header().Set("Connection", "close")
	}
	handling(r)
	s.echo.ServeHTTP(newPacedWriter(w), r)
}

// discard drops what Echo would print by itself; it logs nothing that the
// middleware does not.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
