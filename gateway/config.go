package gateway

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/shared/service"
)

// DefaultAddr is where the gateway answers unless HTTP_ADDR says otherwise.
const DefaultAddr = ":8080"

// maxDrainDelay leaves requests that are taken at its end some time to finish,
// before everything else of the gateway ends in time.
const maxDrainDelay = 15 * time.Second

// Config is the gateway's configuration.
type Config struct {
	service.Base

	// Certificate chain and key, in PEM: `HTTP_ADDR` then speaks HTTPS and `wss`, from TLS 1.2 on. Both or neither. New files
	// are taken up at the next connection; a pair that does not fit is logged, and the one before it stays.
	TLSCertFile string `env:"TLS_CERT_FILE"`
	TLSKeyFile  string `env:"TLS_KEY_FILE"`
	// Folder for local files.
	DataDir string `env:"DATA_DIR" envDefault:"./data"`
	// The job store: a file, for one gateway, or `postgres://user:password@host:5432/database`, for any number; see below.
	//
	// Default: `sqlite:$DATA_DIR/jobs.db`
	DatabaseURL service.SecretURL `env:"DATABASE_URL"`
	// Downloads at once.
	//
	// Default: `32`
	Concurrency int `env:"CONCURRENCY" envDefault:"0"`
	// Largest image, in bytes.
	MaxImageBytes int64 `env:"MAX_IMAGE_BYTES" envDefault:"10485760"`
	// Most images in one batch, at most 100.
	MaxBatchImages int `env:"MAX_BATCH_IMAGES" envDefault:"100"`
	// Images accepted and not ended, over all jobs; past it a batch is answered with 503.
	MaxOpenImages int `env:"MAX_OPEN_IMAGES" envDefault:"100000"`
	// How long an ended job is kept; then its originals and the job are deleted.
	JobRetention time.Duration `env:"JOB_RETENTION" envDefault:"24h"`
	// How long processed images are kept after the end of their job, never less than the job itself. `keep`: for good.
	ResultRetention string `env:"RESULT_RETENTION" envDefault:"keep"`
	// Connections open at once, WebSockets among them. Past it a request is answered with 503 and `Retry-After`, but for
	// `/healthz`, `/readyz` and `/metrics`; 256 past it, connections are closed unread. Each takes a file descriptor (`ulimit -n`).
	MaxConnections int `env:"MAX_CONNECTIONS" envDefault:"14000"`
	// A WebSocket whose peer is silent for so long is closed.
	WSIdleTimeout time.Duration `env:"WS_IDLE_TIMEOUT" envDefault:"60s"`
	// How long after SIGTERM or Ctrl-C the gateway still takes requests, up to `15s`, while `/readyz` says `503`: see below.
	DrainDelay time.Duration `env:"DRAIN_DELAY" envDefault:"0s"`
	// Networks in CIDR form, separated by commas, that image URLs may point to on any port. All others must be public, on port
	// 80 or 443.
	DownloadAllowNetworks []netip.Prefix `env:"DOWNLOAD_ALLOW_NETWORKS"`
	// The only hosts that image URLs and their redirects may name, separated by commas: `images.example.org`, `*.example.org`
	// for all names below it, or an address. Names with other letters than ASCII in their `xn--` form. Empty: every host whose
	// address is allowed.
	DownloadAllowHosts []string `env:"DOWNLOAD_ALLOW_HOSTS"`
	// Web origins, besides the gateway's own, separated by commas, whose pages may open WebSockets, make and change jobs, and
	// read answers (CORS, without credentials). Others are answered with 403, the own page too behind a proxy that changes `Host`.
	AllowedOrigins []string `env:"ALLOWED_ORIGINS"`
	// Names that requests may be sent to (`Host`), with or without a port, separated by commas; `/healthz`, `/readyz` and
	// `/metrics` are answered under any. Empty: any. Set it where the gateway has no API keys and browsers can reach it, against
	// DNS rebinding.
	AllowedHosts []string `env:"ALLOWED_HOSTS"`
	// File of the names and hashes of [API keys](api-extensions.md#api-keys), read again when it changes. Without it whoever
	// reaches the gateway can use it and see all jobs.
	APIKeysFile string `env:"API_KEYS_FILE"`
	// Requests of one name in that file; this and the next three only with keys, `0` for no limit. Past a limit: 429.
	KeyRequests int64 `env:"KEY_REQUESTS_PER_MINUTE" envDefault:"3000"`
	// Bytes of batches that one name sends.
	KeyUploadBytes int64 `env:"KEY_UPLOAD_BYTES_PER_MINUTE" envDefault:"0"`
	// Images of one name that are accepted and have not ended.
	KeyOpenImages int64 `env:"KEY_OPEN_IMAGES" envDefault:"25000"`
	// WebSockets of one name, open at once.
	KeySockets int64 `env:"KEY_SOCKETS" envDefault:"1000"`

	resultRetention time.Duration // 0: keep
}

// Complete fills in what is left open and returns everything that is wrong.
func (c Config) Complete() (Config, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.DatabaseURL == "" {
		c.DatabaseURL = service.SecretURL("sqlite:" + filepath.Join(c.DataDir, "jobs.db"))
	}
	if database := c.DatabaseURL.Reveal(); isPostgres(database) {
		if err := sqlstore.CheckPostgres(database); err != nil {
			wrong("DATABASE_URL: %w", err)
		}
	} else if !strings.HasPrefix(database, "sqlite:") {
		wrong("DATABASE_URL: want sqlite:path/to/jobs.db or postgres://user:password@host:5432/database")
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		wrong("TLS_CERT_FILE and TLS_KEY_FILE: set both, or neither for plain HTTP")
	}
	if c.Concurrency == 0 {
		c.Concurrency = 32
	}
	if c.Concurrency < 1 || c.Concurrency > 1024 {
		wrong("CONCURRENCY: want 1 to 1024, or 0 for 32")
	}
	for _, h := range c.DownloadAllowHosts {
		if err := intake.CheckHost(h); err != nil {
			wrong("DOWNLOAD_ALLOW_HOSTS %q: %w", h, err)
		}
	}
	for _, o := range c.AllowedOrigins {
		if u, err := url.Parse(o); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" {
			wrong("ALLOWED_ORIGINS %q: want scheme://host or scheme://host:port", o)
		}
	}
	for _, h := range c.AllowedHosts {
		if u, err := url.Parse("http://" + h); err != nil || h == "" || u.Host != h {
			wrong("ALLOWED_HOSTS %q: want names such as images.example.com or 127.0.0.1:8080", h)
		}
	}
	if c.JobRetention < time.Second {
		wrong("JOB_RETENTION %s: want at least 1s", c.JobRetention)
	}
	if c.ResultRetention != "keep" {
		var err error
		if c.resultRetention, err = time.ParseDuration(c.ResultRetention); err != nil || c.resultRetention < time.Second {
			wrong("RESULT_RETENTION %q: want keep, or a duration of at least 1s such as 168h", c.ResultRetention)
		}
	}
	if c.MaxImageBytes < 1<<10 || c.MaxImageBytes > 1<<30 {
		wrong("MAX_IMAGE_BYTES %d: want 1024 to 1073741824", c.MaxImageBytes)
	}
	if c.MaxBatchImages < 1 || c.MaxBatchImages > 100 {
		wrong("MAX_BATCH_IMAGES %d: want 1 to 100", c.MaxBatchImages)
	}
	if c.MaxOpenImages < c.MaxBatchImages {
		wrong("MAX_OPEN_IMAGES %d: want at least MAX_BATCH_IMAGES", c.MaxOpenImages)
	}
	if c.MaxConnections < 1 {
		wrong("MAX_CONNECTIONS %d: want at least 1", c.MaxConnections)
	}
	if c.WSIdleTimeout < time.Second {
		wrong("WS_IDLE_TIMEOUT %s: want at least 1s", c.WSIdleTimeout)
	}
	if c.DrainDelay < 0 || c.DrainDelay > maxDrainDelay {
		wrong("DRAIN_DELAY %s: want 0s to %s", c.DrainDelay, maxDrainDelay)
	}
	if c.APIKeysFile != "" {
		if _, err := apikey.Open(c.APIKeysFile, c.keyLimits(), slog.New(slog.DiscardHandler)); err != nil {
			wrong("API_KEYS_FILE: %w", err)
		}
	}
	for name, n := range map[string]int64{
		"KEY_REQUESTS_PER_MINUTE": c.KeyRequests, "KEY_UPLOAD_BYTES_PER_MINUTE": c.KeyUploadBytes,
		"KEY_OPEN_IMAGES": c.KeyOpenImages, "KEY_SOCKETS": c.KeySockets,
	} {
		if n < 0 {
			wrong("%s %d: want a number of at least 1, or 0 for no limit", name, n)
		}
	}
	return c, errors.Join(errs...)
}

// keyLimits are the limits of a name whose line in the file sets no others.
func (c Config) keyLimits() apikey.Limits {
	return apikey.Limits{
		RequestsPerMinute: c.KeyRequests, UploadBytesPerMinute: c.KeyUploadBytes, OpenImages: c.KeyOpenImages, Sockets: c.KeySockets,
	}
}
