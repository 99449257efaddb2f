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

	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job/postgres"
	"github.com/imagebatch/imagebatch/gateway/internal/keyring"
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

	DataDir     string `env:"DATA_DIR" envDefault:"./data"` // local files
	DatabaseURL string `env:"DATABASE_URL"`                 // of the job store; empty: sqlite:$DATA_DIR/jobs.db

	TLSCertFile string `env:"TLS_CERT_FILE"` // certificate chain in PEM, with which HTTP_ADDR speaks TLS
	TLSKeyFile  string `env:"TLS_KEY_FILE"`  // its key

	DownloadAllowNetworks []netip.Prefix `env:"DOWNLOAD_ALLOW_NETWORKS"`            // private networks that image URLs may point to, on any port
	DownloadAllowHosts    []string       `env:"DOWNLOAD_ALLOW_HOSTS"`               // the only hosts that image URLs may name; empty: all
	AllowedOrigins        []string       `env:"ALLOWED_ORIGINS"`                    // web origins, besides its own, whose pages may use the API
	AllowedHosts          []string       `env:"ALLOWED_HOSTS"`                      // names that requests may be sent to; empty: any
	JobRetention          time.Duration  `env:"JOB_RETENTION" envDefault:"24h"`     // how long an ended job is kept
	ResultRetention       string         `env:"RESULT_RETENTION" envDefault:"keep"` // how long processed images are kept after the job's end, or keep
	MaxImageBytes         int64          `env:"MAX_IMAGE_BYTES" envDefault:"10485760"`
	MaxBatchImages        int            `env:"MAX_BATCH_IMAGES" envDefault:"100"`
	MaxOpenImages         int            `env:"MAX_OPEN_IMAGES" envDefault:"100000"` // accepted and not ended; past it: 503
	MaxConnections        int            `env:"MAX_CONNECTIONS" envDefault:"14000"`  // open at once; past it: 503
	WSIdleTimeout         time.Duration  `env:"WS_IDLE_TIMEOUT" envDefault:"60s"`
	DrainDelay            time.Duration  `env:"DRAIN_DELAY" envDefault:"0s"` // how long requests are still taken after SIGTERM
	Concurrency           int            `env:"CONCURRENCY" envDefault:"0"`  // downloads at once; 0: 32

	APIKeysFile    string `env:"API_KEYS_FILE"` // names and hashes of API keys; empty: whoever comes may do everything
	KeyRequests    int    `env:"KEY_REQUESTS_PER_MINUTE" envDefault:"3000"`
	KeyUploadBytes int64  `env:"KEY_UPLOAD_BYTES_PER_MINUTE" envDefault:"0"`
	KeyOpenImages  int    `env:"KEY_OPEN_IMAGES" envDefault:"25000"`
	KeySockets     int    `env:"KEY_SOCKETS" envDefault:"1000"`

	resultRetention time.Duration // 0: keep
}

// Complete fills in what is left open and returns everything that is wrong.
func (c Config) Complete() (Config, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if c.DatabaseURL == "" {
		c.DatabaseURL = "sqlite:" + filepath.Join(c.DataDir, "jobs.db")
	}
	if isPostgres(c.DatabaseURL) {
		if err := postgres.Check(c.DatabaseURL); err != nil {
			wrong("DATABASE_URL: %w", err)
		}
	} else if !strings.HasPrefix(c.DatabaseURL, "sqlite:") {
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
		if _, err := keyring.Open(c.APIKeysFile, c.keyLimits(), slog.New(slog.DiscardHandler)); err != nil {
			wrong("API_KEYS_FILE: %w", err)
		}
	}
	for name, n := range map[string]int64{
		"KEY_REQUESTS_PER_MINUTE": int64(c.KeyRequests), "KEY_UPLOAD_BYTES_PER_MINUTE": c.KeyUploadBytes,
		"KEY_OPEN_IMAGES": int64(c.KeyOpenImages), "KEY_SOCKETS": int64(c.KeySockets),
	} {
		if n < 0 {
			wrong("%s %d: want a number of at least 1, or 0 for no limit", name, n)
		}
	}
	return c, errors.Join(errs...)
}

// keyLimits are the limits of a name whose line in the file sets no others.
func (c Config) keyLimits() keyring.Limits {
	return keyring.Limits{
		RequestsPerMinute: c.KeyRequests, UploadBytesPerMinute: c.KeyUploadBytes, OpenImages: c.KeyOpenImages, Sockets: c.KeySockets,
	}
}
