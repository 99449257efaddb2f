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

	"github.com/imagebatch/imagebatch/gateway/internal/api"
	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/gateway/internal/origin"
	"github.com/imagebatch/imagebatch/gateway/internal/proxy"
	"github.com/imagebatch/imagebatch/gateway/internal/webhook"
	"github.com/imagebatch/imagebatch/shared/service"
)

// DefaultAddr is the gateway's listening address unless HTTP_ADDR specifies another.
const DefaultAddr = ":8080"

// maxDrainDelay leaves enough of the drain time to finish requests accepted at its end,
// before the rest of the gateway stops.
const maxDrainDelay = 15 * time.Second

// minPingInterval bounds the work of a WebSocket.
const minPingInterval = 100 * time.Millisecond

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
	// Maximum number of concurrent downloads. A slow download keeps its place.
	//
	// Default: `32`
	Concurrency int `env:"CONCURRENCY" envDefault:"0"`
	// Maximum number of concurrent downloads from one host: from all names below one registrable name, such as `example.org`, or
	// from one address. A host that answers 429 or 503, resets connections or times out gets [fewer](operations.md#hosts-that-limit).
	DownloadHostConcurrency int `env:"DOWNLOAD_HOST_CONCURRENCY" envDefault:"8"`
	// Maximum time for which an image waits for a host that answers 429 or 503.
	DownloadMaxWait time.Duration `env:"DOWNLOAD_MAX_WAIT" envDefault:"10m"`
	// Maximum time from a request for an image URL to the header of its response.
	DownloadHeaderTimeout time.Duration `env:"DOWNLOAD_HEADER_TIMEOUT" envDefault:"10s"`
	// Maximum time for one download, redirects and body included. All attempts together have 60 seconds, or this time if it is longer.
	DownloadTimeout time.Duration `env:"DOWNLOAD_TIMEOUT" envDefault:"30s"`
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
	// Time for which the answer of a vision model is kept, so that the same picture is not paid for again. `keep`: forever.
	//
	// Default: as `RESULT_RETENTION`
	CaptionRetention string `env:"CAPTION_RETENTION"`
	// As the [analyzers have them](#captions), only to show clients which model sees their images, and where.
	CaptionURL   service.SecretURL `env:"CAPTION_URL"`
	CaptionModel []string          `env:"CAPTION_MODEL"`
	// As the [analyzers have it](#captions), only to show clients how large the images are that the model sees.
	CaptionPixels int `env:"CAPTION_PIXELS" envDefault:"768"`
	// Maximum number of open connections, including WebSockets and event streams. Beyond it, requests get a 503 response with
	// `Retry-After`, except for `/healthz`, `/readyz` and `/metrics`. Beyond 256 more, connections are closed unread. Each
	// connection needs a file descriptor (`ulimit -n`).
	MaxConnections int `env:"MAX_CONNECTIONS" envDefault:"14000"`
	// Time for which a connection without a request is kept open. It must be longer than the idle timeout of a proxy in front,
	// which otherwise sends a request on a connection that the gateway is closing. At `MAX_CONNECTIONS`, a new connection takes
	// the place of the one that has been idle longest.
	KeepAliveTimeout time.Duration `env:"KEEP_ALIVE_TIMEOUT" envDefault:"620s"`
	// Time for which an upload may stall, `1s` to `10m`. On the whole, it must arrive at 10 kB/s or more; it may be behind that
	// speed by this time. Beyond it: 408.
	UploadStallTimeout time.Duration `env:"UPLOAD_STALL_TIMEOUT" envDefault:"30s"`
	// Time after which a WebSocket whose client is silent is closed.
	WSIdleTimeout time.Duration `env:"WS_IDLE_TIMEOUT" envDefault:"60s"`
	// Time between two pings to the client of a WebSocket, and between two comments to that of an event stream, at most 5/12 of
	// `WS_IDLE_TIMEOUT`. It must be shorter than the idle timeout of a proxy in front.
	//
	// Default: `25s`, or 5/12 of `WS_IDLE_TIMEOUT` if that is shorter
	WSPingInterval time.Duration `env:"WS_PING_INTERVAL" envDefault:"0s"`
	// Time after SIGTERM or Ctrl-C in which the gateway still accepts requests while `/readyz` returns `503`, up to `15s`: see below.
	DrainDelay time.Duration `env:"DRAIN_DELAY" envDefault:"0s"`
	// Networks in CIDR form, separated by commas, to which image URLs may point on any port. All other addresses must be public,
	// on port 80 or 443.
	DownloadAllowNetworks []netip.Prefix `env:"DOWNLOAD_ALLOW_NETWORKS"`
	// The only hosts that image URLs and their redirects may name, separated by commas: `images.example.org`, `*.example.org`
	// for all names below it, or an address. Names with non-ASCII letters match their `xn--` form too. Empty: every host whose
	// address is allowed.
	DownloadAllowHosts []string `env:"DOWNLOAD_ALLOW_HOSTS"`
	// Whether clients may send [headers](api-extensions.md#headers-for-an-image-url) to their image URLs. The gateway keeps them with the
	// job. All gateways must have the same value, and a version that knows it.
	DownloadAllowHeaders bool `env:"DOWNLOAD_ALLOW_HEADERS" envDefault:"false"`
	// Web origins, separated by commas, in addition to the gateway's own, whose pages may open WebSockets, create and change
	// jobs, and read responses (CORS, without credentials): `https://app.example.com`, `https://*.example.com` for all names
	// below it but not `example.com` itself, or the origin of an app shell such as `capacitor://localhost`. Other origins get a
	// 403 response. So does the gateway's own page behind a proxy that changes `Host`, unless `TRUSTED_PROXIES` lists the proxy.
	AllowedOrigins []string `env:"ALLOWED_ORIGINS"`
	// Names to which requests may be sent (`Host`), with or without a port, separated by commas. `/healthz`, `/readyz` and
	// `/metrics` accept any name. Empty: any. Set it against DNS rebinding if the gateway has no API keys and browsers can
	// reach it.
	AllowedHosts []string `env:"ALLOWED_HOSTS"`
	// Prefix of all paths of the API and the page, such as `/images`, for a [proxy that publishes the gateway below
	// it](operations.md#behind-a-proxy) and passes the path on unchanged. `/healthz`, `/readyz` and `/metrics` keep their paths.
	BasePath string `env:"BASE_PATH"`
	// Addresses and networks in CIDR form, separated by commas, of [the proxies](operations.md#behind-a-proxy) whose
	// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`, or `Forwarded`, are believed. From others, they are ignored.
	TrustedProxies []string `env:"TRUSTED_PROXIES"`
	// File with the names and hashes of the [API keys](api-extensions.md#api-keys), read again when it changes. Without it, any
	// client that reaches the gateway can use it and see all jobs.
	APIKeysFile string `env:"API_KEYS_FILE"`
	// Maximum requests of one name in that file. This limit and the next three need API keys; `0`: no limit. Beyond a limit: 429.
	KeyRequests int64 `env:"KEY_REQUESTS_PER_MINUTE" envDefault:"3000"`
	// Maximum bytes of the batches that one name sends; of compressed batches, the decoded bytes.
	KeyUploadBytes int64 `env:"KEY_UPLOAD_BYTES_PER_MINUTE" envDefault:"0"`
	// Maximum number of open images (accepted and not ended) of one name.
	KeyOpenImages int64 `env:"KEY_OPEN_IMAGES" envDefault:"25000"`
	// Maximum number of open WebSockets, event streams and waiting requests of one name.
	KeySockets int64 `env:"KEY_SOCKETS" envDefault:"1000"`
	// File with [webhooks](webhooks.md#webhooks-of-the-operator) that receive the ends of all jobs, read again when it changes. All gateways must have the same.
	WebhooksFile string `env:"WEBHOOKS_FILE"`
	// Networks in CIDR form, separated by commas, to which the URLs of webhooks may point on any port. All other addresses must
	// be public, on port 80 or 443.
	WebhookAllowNetworks []netip.Prefix `env:"WEBHOOK_ALLOW_NETWORKS"`
	// URL of your Grafana, which the console shows to operators as a link, and `GET /api/v1/system` returns. Without credentials.
	GrafanaURL service.SecretURL `env:"GRAFANA_URL"`
	// URL of RabbitMQ's management page, likewise.
	RabbitMQManagementURL service.SecretURL `env:"RABBITMQ_MANAGEMENT_URL"`

	resultRetention time.Duration // 0: keep

	captionRetention time.Duration // 0: keep
	origins          origin.List
	proxies          proxy.Trusted
}

// Complete sets the defaults and returns an error that lists every mistake.
func (c Config) Complete() (Config, error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	c.checkDatabase(wrong)
	if c.DatabaseURL == "" {
		c.DatabaseURL = service.SecretURL("sqlite:" + filepath.Join(c.DataDir, "jobs.db"))
	}
	if err := api.CheckBasePath(c.BasePath); err != nil {
		wrong("BASE_PATH %q: %w", c.BasePath, err)
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
	if c.DownloadHostConcurrency < 1 || c.DownloadHostConcurrency > 1024 {
		wrong("DOWNLOAD_HOST_CONCURRENCY %d: want 1 to 1024", c.DownloadHostConcurrency)
	}
	if c.DownloadMaxWait < time.Second || c.DownloadMaxWait > 24*time.Hour {
		wrong("DOWNLOAD_MAX_WAIT %s: want 1s to 24h", c.DownloadMaxWait)
	}
	if c.DownloadTimeout < time.Second || c.DownloadTimeout > time.Hour {
		wrong("DOWNLOAD_TIMEOUT %s: want 1s to 1h", c.DownloadTimeout)
	}
	if c.DownloadHeaderTimeout < time.Second || c.DownloadHeaderTimeout > c.DownloadTimeout {
		wrong("DOWNLOAD_HEADER_TIMEOUT %s: want at least 1s, and at most DOWNLOAD_TIMEOUT (%s)", c.DownloadHeaderTimeout, c.DownloadTimeout)
	}
	for _, h := range c.DownloadAllowHosts {
		if err := intake.CheckHost(h); err != nil {
			wrong("DOWNLOAD_ALLOW_HOSTS %q: %w", h, err)
		}
	}
	c.origins, c.proxies = nil, nil
	for _, o := range c.AllowedOrigins {
		pattern, err := origin.Parse(o)
		if err != nil {
			wrong("ALLOWED_ORIGINS %q: %w", o, err)
		}
		c.origins = append(c.origins, pattern)
	}
	for _, p := range c.TrustedProxies {
		network, err := proxy.Parse(p)
		if err != nil {
			wrong("TRUSTED_PROXIES %q: %w", p, err)
		}
		c.proxies = append(c.proxies, network)
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
	if c.captionRetention = c.resultRetention; c.CaptionRetention == "keep" {
		c.captionRetention = 0
	} else if c.CaptionRetention != "" {
		var err error
		if c.captionRetention, err = time.ParseDuration(c.CaptionRetention); err != nil || c.captionRetention < time.Second {
			wrong("CAPTION_RETENTION %q: want keep, or a duration of at least 1s such as 720h", c.CaptionRetention)
		}
	}
	var err error
	if c.CaptionModel, err = service.CheckCaptions(c.CaptionURL, c.CaptionModel, c.CaptionPixels); err != nil {
		errs = append(errs, err)
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
	if c.KeepAliveTimeout < time.Second {
		wrong("KEEP_ALIVE_TIMEOUT %s: want at least 1s", c.KeepAliveTimeout)
	}
	if c.UploadStallTimeout < time.Second || c.UploadStallTimeout > 10*time.Minute {
		wrong("UPLOAD_STALL_TIMEOUT %s: want 1s to 10m", c.UploadStallTimeout)
	}
	if c.WSIdleTimeout < time.Second {
		wrong("WS_IDLE_TIMEOUT %s: want at least 1s", c.WSIdleTimeout)
	} else if most := api.MaxPingInterval(c.WSIdleTimeout); c.WSPingInterval == 0 {
		c.WSPingInterval = min(25*time.Second, most)
	} else if c.WSPingInterval < minPingInterval || c.WSPingInterval > most {
		wrong("WS_PING_INTERVAL %s: want %s to %s, which is 5/12 of WS_IDLE_TIMEOUT", c.WSPingInterval, minPingInterval, most)
	}
	if c.DrainDelay < 0 || c.DrainDelay > maxDrainDelay {
		wrong("DRAIN_DELAY %s: want 0s to %s", c.DrainDelay, maxDrainDelay)
	}
	if c.APIKeysFile != "" {
		if _, err := apikey.Open(c.APIKeysFile, c.keyLimits(), slog.New(slog.DiscardHandler)); err != nil {
			wrong("API_KEYS_FILE: %w", err)
		}
	}
	if _, err := c.webhooks(); err != nil {
		wrong("%w", err)
	}
	checkLink(wrong, "GRAFANA_URL", c.GrafanaURL)
	checkLink(wrong, "RABBITMQ_MANAGEMENT_URL", c.RabbitMQManagementURL)
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

// webhooks opens the file of webhooks, or returns nil without one.
func (c Config) webhooks() (*webhook.File, error) {
	if c.WebhooksFile == "" {
		return nil, nil //nolint:nilnil // A nil file has no webhooks.
	}
	f, err := webhook.OpenFile(c.WebhooksFile, c.WebhookAllowNetworks)
	if err != nil {
		return nil, fmt.Errorf("WEBHOOKS_FILE: %w", err)
	}
	return f, nil
}

// checkLink checks the URL of a page that the console links to.
func checkLink(wrong func(format string, args ...any), name string, link service.SecretURL) {
	u, err := url.Parse(link.Reveal())
	switch {
	case link == "":
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		wrong("%s: want a URL such as https://monitoring.example.com/", name)
	case u.User != nil:
		wrong("%s: want a URL without a user and a password, because every operator sees it", name)
	}
}

// checkDatabase checks where the jobs are stored. It contacts no server and opens no file.
func (c Config) checkDatabase(wrong func(format string, args ...any)) {
	database := c.DatabaseURL.Reveal()
	file, isFile := strings.CutPrefix(database, "sqlite:")
	var err error
	switch {
	case database == "":
		if err := service.CheckFolder(c.DataDir); err != nil {
			wrong("DATA_DIR: %w", err)
		}
	case sqlstore.IsPostgres(database):
		err = sqlstore.CheckPostgres(database)
	case !isFile || file == "":
		err = errors.New("want sqlite:path/to/jobs.db or postgres://user:password@host:5432/database")
	default:
		err = service.CheckFile(file)
	}
	if err != nil {
		wrong("DATABASE_URL: %w", err)
	}
}

// CheckListening returns the errors with which the gateway would reject its addresses and
// its certificate.
func (c Config) CheckListening() error {
	errs := []error{c.Base.CheckListening()}
	if service.SameListener(c.HTTPAddr, c.MetricsAddr) {
		errs = append(errs, fmt.Errorf("METRICS_ADDR %q: want another port than that of HTTP_ADDR", c.MetricsAddr))
	}
	if c.TLSCertFile != "" && c.TLSKeyFile != "" {
		_, err := openCertificate(c.TLSCertFile, c.TLSKeyFile, slog.New(slog.DiscardHandler))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// captions returns which vision model sees the images, or nil if the gateway knows of none.
func (c Config) captions() *api.Captions {
	u, err := url.Parse(c.CaptionURL.Reveal())
	if c.CaptionURL == "" || err != nil {
		return nil
	}
	return &api.Captions{Model: strings.Join(c.CaptionModel, ", "), Host: u.Host, Pixels: c.CaptionPixels}
}

// keyLimits returns the limits of a name whose line in the file sets no limits.
func (c Config) keyLimits() apikey.Limits {
	return apikey.Limits{
		RequestsPerMinute: c.KeyRequests, UploadBytesPerMinute: c.KeyUploadBytes, OpenImages: c.KeyOpenImages, Sockets: c.KeySockets,
	}
}
