package download

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/pace"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ErrBusy is returned when all downloads together hold too much memory for this one to
// continue. The caller must try again later; the image is not at fault.
var ErrBusy = errors.New("downloads hold too much memory")

// Config sets the limits of a Client. A zero field means its default.
type Config struct {
	AllowNetworks []netip.Prefix // allowed on any port; else only public addresses on 80 and 443
	AllowHosts    []string       // names, and patterns such as *.example.org; empty: all hosts
	AllowHeaders  bool           // whether clients may choose the header fields that headerNames lists
	MaxBytes      int64          // limit of one image; 10 MiB
	Memory        int64          // total bytes for all downloads; 16 × MaxBytes, at least 4 × MaxBytes
	UserAgent     string
	Hosts         *pace.Table // learns from each response how fast its host may be asked

	HeaderTimeout time.Duration // from the lookup of the name to the header of one response; 10 s
	Timeout       time.Duration // limit of one attempt, redirects and body included; 30 s
	Budget        time.Duration // limit of all attempts and the waits between them; 60 s

	resolver   *net.Resolver                    // for tests
	pause      func(try int) time.Duration      // wait before the next attempt, for tests
	connect    func(network, addr string) error // called after the guard, for tests
	memoryWait time.Duration                    // maximum wait for memory
}

// Limits that are not configurable.
const (
	maxRedirects   = 5
	maxTries       = 3 // 429 and 503 do not count
	maxHeaderBytes = 64 << 10
	tlsSessions    = 256 // number of cached sessions
)

func (c Config) orDefaults() Config {
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 10*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.Budget = cmp.Or(c.Budget, max(60*time.Second, c.Timeout))
	c.memoryWait = cmp.Or(c.memoryWait, maxMemoryWait)
	c.MaxBytes = cmp.Or(c.MaxBytes, 10<<20)
	// One job may use half, and a growing buffer briefly exists twice.
	c.Memory = max(cmp.Or(c.Memory, 16*c.MaxBytes), 4*(c.MaxBytes+1), 4*firstRead)
	c.UserAgent = cmp.Or(c.UserAgent, "Imagebatch")
	if c.Hosts == nil {
		c.Hosts = pace.New(pace.Config{})
	}
	if c.resolver == nil {
		// The C library's resolver occupies a thread during a lookup, even after the context
		// is done.
		c.resolver = &net.Resolver{PreferGo: true}
	}
	if c.pause == nil {
		c.pause = jitter
	}
	return c
}

// Client downloads images. It is safe for concurrent use and does not limit the number of
// concurrent downloads.
type Client struct {
	config    Config
	hosts     hosts
	transport *http.Transport
	memory    *memory
}

// New returns a Client. It keeps no connection open between downloads.
func New(config Config) *Client {
	config = config.orDefaults()
	dialer := &net.Dialer{
		// A little more than the limit of the request, which ends first and says what it waited for.
		Timeout: config.HeaderTimeout + time.Second, KeepAlive: -1, Resolver: config.resolver,
		Control: newGuard(config.AllowNetworks).then(config.connect).control,
	}
	return &Client{
		config: config,
		hosts:  newHosts(config.AllowHosts),
		memory: newMemory(config.Memory),
		transport: &http.Transport{
			Proxy:              nil, // a proxy would make connections that our check does not see
			DialContext:        dialer.DialContext,
			DisableCompression: true,
			// An idle connection lets its origin write to our standard log, and hides the
			// transport's own retries from our count. Resuming the TLS session saves the most
			// expensive part of a new connection.
			DisableKeepAlives:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(tlsSessions)},
			TLSHandshakeTimeout:    config.HeaderTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			ReadBufferSize:         8 << 10,
		},
	}
}

// Reasons for cancelling an attempt.
var (
	errSlowHeader = errors.New("no header in time")
	errSlow       = errors.New("not finished in time")
	errSlowLookup = errors.New("name not resolved in time")
)

// response is an HTTP response whose body has not been read yet.
type response struct {
	*http.Response
	end   context.CancelFunc // ends the request; called after reading the body
	leave func()             // ends the use of the host
}

func (a *response) close() {
	a.Body.Close()
	a.end()
	a.leave()
}

// request sends one request, with header fields that the client has chosen, and returns when
// the response header has arrived.
func (c *Client) request(ctx context.Context, u *url.URL, chosen http.Header) (*response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	ctx, progress := trace(ctx)
	started := time.Now()
	late := time.AfterFunc(c.config.HeaderTimeout, func() { cancel(progress.late()) })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		late.Stop()
		cancel(nil)
		return nil, notAllowed("Invalid URL")
	}
	req.Header.Set("User-Agent", c.config.UserAgent)
	req.Header.Set("Accept", "image/jpeg, image/png;q=0.9, */*;q=0.1")
	req.Header.Set("Accept-Encoding", "identity")
	maps.Copy(req.Header, chosen)
	// The dot at the end of a name matters to the lookup only. TLS omits it as well.
	req.Host = strings.TrimSuffix(strings.Replace(u.Host, ".:", ":", 1), ".")
	resp, err := c.transport.RoundTrip(req)
	if !late.Stop() && err == nil {
		resp.Body.Close()
		err = errSlowHeader
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		c.learn(u, progress.address(), started, nil, err)
		return nil, fmt.Errorf("request: %w: %w", errNoHeader, err)
	}
	c.learn(u, progress.address(), started, resp, nil)
	return &response{Response: resp, end: func() { cancel(nil) }}, nil
}

// follow requests the URL and follows at most maxRedirects redirects, each checked like the
// first URL. No data of one request is used in the next, except the header fields that the
// client has chosen: they are sent until the first redirect to another origin.
func (c *Client) follow(ctx context.Context, u *url.URL, place string, chosen http.Header) (*response, error) {
	for range maxRedirects + 1 {
		leave, err := c.visit(u, place)
		if err != nil {
			return nil, err
		}
		a, err := c.request(ctx, u, chosen)
		if err != nil {
			leave()
			return nil, err
		}
		a.leave = leave
		if !redirects(a.Response) {
			return a, nil
		}
		next, err := redirected(u, a.Header.Get("Location"))
		a.close()
		if err == nil {
			err = c.allowed(next)
		}
		if err != nil {
			return nil, err
		}
		if !sameOrigin(u, next) {
			chosen = nil
		}
		u = next
	}
	return nil, failed("too many redirects", false, nil)
}

// sameOrigin reports whether two URLs have the same scheme, host and port.
func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && a.Host == b.Host }

func redirects(r *http.Response) bool {
	switch r.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return r.Header.Get("Location") != ""
	}
	return false
}

// failed returns the failure of a download, with a reason that a client may see.
func failed(reason string, retryable bool, err error) *pipeline.Failure {
	return &pipeline.Failure{
		Code: pipeline.CodeDownloadFailed, Text: "Failed to download image: " + reason,
		Retryable: retryable, Err: err,
	}
}

// TooLarge returns the failure of an image of more than limit bytes, downloaded or inline.
func TooLarge(limit int64) *pipeline.Failure {
	size := fmt.Sprintf("%d bytes", limit)
	if limit%(1<<20) == 0 {
		size = fmt.Sprintf("%d MB", limit>>20)
	}
	return &pipeline.Failure{Code: pipeline.CodeTooLarge, Text: "Image exceeds the maximum size of " + size}
}
