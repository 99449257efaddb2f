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

// DefaultAddr is the gateway's listening address unless HTTP_ADDR specifies another.
const DefaultAddr = ":8080"

// maxDrainDelay leaves enough of the drain time to finish requests accepted at its end,
// before the rest of the gateway stops.
const maxDrainDelay = 15 * time.Second

// Config is the gateway's configuration.
type Config struct {
	service.Base

	// Certificate chain and key, in PEM; set both or neither. With them, `HTTP_ADDR` serves HTTPS and `wss`, from TLS 1.2 on.
	// The gateway loads replaced files at the next connection. It logs a pair that cannot be loaded and keeps the previous one.
	TLSCertFile string `env:"TLS_CERT_FILE"`
	TLSKeyFile  string `env:"TLS_KEY_FILE"`
	// Folder for local files.
	DataDir string `env:"DATA_DIR" envDefault:"./data"`
	// Job store: a file, for one gateway, or `postgres://user:password@host:5432/database`, for any number of gateways; see below.
	//
	// Default: `sqlite:$DATA_DIR/jobs.db`
	DatabaseURL service.SecretURL `env:"DATABASE_URL"`
	// Maximum number of concurrent downloads.
	//
	// Default: `32`
	Concurrency int `env:"CONCURRENCY" envDefault:"0"`
	// Maximum size of an image, in bytes.
	MaxImageBytes int64 `env:"MAX_IMAGE_BYTES" envDefault:"10485760"`
	// Maximum number of images in one batch, up to 100.
	MaxBatchImages int `env:"MAX_BATCH_IMAGES" envDefault:"100"`
	// Maximum number of open images (accepted and not ended) over all jobs. Beyond it, a batch gets a 503 response.
	MaxOpenImages int `env:"MAX_OPEN_IMAGES" envDefault:"100000"`
	// Time for which an ended job is kept. Then its originals and the job are deleted.
	JobRetention time.Duration `env:"JOB_RETENTION" envDefault:"24h"`
	// Time for which processed images are kept after the end of their job, at least as long as the job itself. `keep`: forever.
	ResultRetention string `env:"RESULT_RETENTION" envDefault:"keep"`
	// Maximum number of open connections, including WebSockets. Beyond it, requests get a 503 response with `Retry-After`, except
	// for `/healthz`, `/readyz` and `/metrics`. Beyond 256 more, connections are closed unread. Each connection needs a file
	// descriptor (`ulimit -n`).
	MaxConnections int `env:"MAX_CONNECTIONS" envDefault:"14000"`
	// Time after which a WebSocket whose client is silent is closed.
	WSIdleTimeout time.Duration `env:"WS_IDLE_TIMEOUT" envDefault:"60s"`
	// Time after SIGTERM or Ctrl-C in which the gateway still accepts requests while `/readyz` returns `503`, up to `15s`: see below.
	DrainDelay time.Duration `env:"DRAIN_DELAY" envDefault:"0s"`
	// Networks in CIDR form, separated by commas, to which image URLs may point on any port. All other addresses must be public,
	// on port 80 or 443.
	DownloadAllowNetworks []netip.Prefix `env:"DOWNLOAD_ALLOW_NETWORKS"`
	// The only hosts that image URLs and their redirects may name, separated by commas: `images.example.org`, `*.example.org`
	// for all names below it, or an address. Write names with non-ASCII letters in their `xn--` form. Empty: every host whose
	// address is allowed.
	DownloadAllowHosts []string `env:"DOWNLOAD_ALLOW_HOSTS"`
	// Web origins, separated by commas, in addition to the gateway's own, whose pages may open WebSockets, create and change
	// jobs, and read responses (CORS, without credentials). Other origins get a 403 response. So does the gateway's own page
	// behind a proxy that changes `Host`.
	AllowedOrigins []string `env:"ALLOWED_ORIGINS"`
	// Names to which requests may be sent (`Host`), with or without a port, separated by commas. `/healthz`, `/readyz` and
	// `/metrics` accept any name. Empty: any. Set it against DNS rebinding if the gateway has no API keys and browsers can
	// reach it.
	AllowedHosts []string `env:"ALLOWED_HOSTS"`
	// File with the names and hashes of the [API keys](api-extensions.md#api-keys), read again when it changes. Without it, any
	// client that reaches the gateway can use it and see all jobs.
	APIKeysFile string `env:"API_KEYS_FILE"`
	// Maximum requests of one name in that file. This limit and the next three need API keys; `0`: no limit. Beyond a limit: 429.
	KeyRequests int64 `env:"KEY_REQUESTS_PER_MINUTE" envDefault:"3000"`
	// Maximum bytes of the batches that one name sends.
	KeyUploadBytes int64 `env:"KEY_UPLOAD_BYTES_PER_MINUTE" envDefault:"0"`
	// Maximum number of open images (accepted and not ended) of one name.
	KeyOpenImages int64 `env:"KEY_OPEN_IMAGES" envDefault:"25000"`
	// Maximum number of open WebSockets and waiting requests of one name.
	KeySockets int64 `env:"KEY_SOCKETS" envDefault:"1000"`

	resultRetention time.Duration // 0: keep
}

// Complete sets the defaults and returns an error that lists every mistake.
func (c Config) Complete() (Config, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.DatabaseURL == "" {
		c.DatabaseURL = service.SecretURL("sqlite:" + filepath.Join(c.DataDir, "jobs.db"))
	}
	if database := c.DatabaseURL.Reveal(); sqlstore.IsPostgres(database) {
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

// keyLimits returns the limits of a name whose line in the file sets no limits.
func (c Config) keyLimits() apikey.Limits {
	return apikey.Limits{
		RequestsPerMinute: c.KeyRequests, UploadBytesPerMinute: c.KeyUploadBytes, OpenImages: c.KeyOpenImages, Sockets: c.KeySockets,
	}
}
