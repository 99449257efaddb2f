package download

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// ErrBusy says that all downloads together hold too much memory for this one to
// go on. It has ended and is to be tried again later; the image is not at fault.
var ErrBusy = errors.New("downloads hold too much memory")

// Config is what a Client may do. A field that is zero means its default.
type Config struct {
	AllowNetworks []netip.Prefix // allowed on any port; else only public addresses on 80 and 443
	AllowHosts    []string       // names, and patterns such as *.example.org; empty: every host
	MaxBytes      int64          // of one image; 10 MiB
	Memory        int64          // bytes of all downloads together; 16 × MaxBytes, at least 4
	UserAgent     string

	HeaderTimeout time.Duration // from the first packet to the header of one answer; 10 s
	Timeout       time.Duration // of one try, redirects and body included; 30 s
	Budget        time.Duration // of all tries and the waits between them; 60 s

	resolver *net.Resolver                    // for tests
	pause    func(try int) time.Duration      // before another try, for tests
	connect  func(network, addr string) error // asked after the guard, for tests
	patience time.Duration                    // with memory
}

// Bounds that nobody needs to change.
const (
	maxRedirects   = 5
	maxTries       = 3
	maxHeaderBytes = 64 << 10
	tlsSessions    = 256 // remembered, to be resumed
)

func (c Config) orDefaults() Config {
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, 10*time.Second)
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.Budget = cmp.Or(c.Budget, 60*time.Second)
	c.patience = cmp.Or(c.patience, memoryPatience)
	c.MaxBytes = cmp.Or(c.MaxBytes, 10<<20)
	// Half is one job's share, and a buffer that grows is there twice for a moment.
	c.Memory = max(cmp.Or(c.Memory, 16*c.MaxBytes), 4*(c.MaxBytes+1), 4*firstRead)
	c.UserAgent = cmp.Or(c.UserAgent, "Imagebatch")
	if c.resolver == nil {
		// The resolver of the C library holds a thread for as long as a lookup
		// lasts, whatever the context says.
		c.resolver = &net.Resolver{PreferGo: true}
	}
	if c.pause == nil {
		c.pause = jitter
	}
	return c
}

// Client downloads. It may be used from many goroutines; how many at once is its
// user's business.
type Client struct {
	config    Config
	hosts     hosts
	transport *http.Transport
	memory    *memory
}

// New makes a Client. It holds nothing open between downloads.
func New(config Config) *Client {
	config = config.orDefaults()
	dialer := &net.Dialer{
		Timeout: config.HeaderTimeout, KeepAlive: -1, Resolver: config.resolver,
		Control: newGuard(config.AllowNetworks).then(config.connect).control,
	}
	return &Client{
		config: config,
		hosts:  newHosts(config.AllowHosts),
		memory: newMemory(config.Memory),
		transport: &http.Transport{
			Proxy:              nil, // a proxy would connect where our check does not see it
			DialContext:        dialer.DialContext,
			DisableCompression: true,
			// An idle connection lets its origin write into our standard log, and hides
			// tries of the transport's own from the count of ours. Resuming its TLS
			// session saves the dearest part of a new one.
			DisableKeepAlives:      true,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, ClientSessionCache: tls.NewLRUClientSessionCache(tlsSessions)},
			TLSHandshakeTimeout:    config.HeaderTimeout,
			MaxResponseHeaderBytes: maxHeaderBytes,
			ReadBufferSize:         8 << 10,
		},
	}
}

// Reasons for which a try is ended.
var (
	errSlowHeader = errors.New("no header in time")
	errSlow       = errors.New("not finished in time")
)

// answer is the header of a response, whose body is still to come.
type answer struct {
	*http.Response
	end context.CancelFunc // ends the request; called after the body was read
}

func (a *answer) close() {
	a.Body.Close()
	a.end()
}

// request asks one address and returns when the header of its answer is there.
func (c *Client) request(ctx context.Context, u *url.URL) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	late := time.AfterFunc(c.config.HeaderTimeout, func() { cancel(errSlowHeader) })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		late.Stop()
		cancel(nil)
		return nil, notAllowed("Invalid URL")
	}
	req.Header.Set("User-Agent", c.config.UserAgent)
	req.Header.Set("Accept", "image/jpeg, image/png, */*;q=0.1")
	req.Header.Set("Accept-Encoding", "identity")
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
		return nil, fmt.Errorf("request: %w: %w", errNoHeader, err)
	}
	return &answer{resp, func() { cancel(nil) }}, nil
}

// follow asks the address and those that it is redirected to, at most
// maxRedirects, each checked like the first. Nothing of one request goes into
// the next.
func (c *Client) follow(ctx context.Context, u *url.URL) (*answer, error) {
	for range maxRedirects + 1 {
		a, err := c.request(ctx, u)
		if err != nil {
			return nil, err
		}
		if !redirects(a.Response) {
			return a, nil
		}
		u, err = a.Location()
		a.close()
		if err != nil {
			return nil, notAllowed("Invalid URL")
		}
		if err := c.check(u); err != nil {
			return nil, err
		}
	}
	return nil, failed("too many redirects", false, nil)
}

func redirects(r *http.Response) bool {
	switch r.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return r.Header.Get("Location") != ""
	}
	return false
}

// failed is the failure of a download for a reason that a client may know.
func failed(reason string, retryable bool, err error) *pipeline.Failure {
	return &pipeline.Failure{
		Code: pipeline.CodeDownloadFailed, Text: "Failed to download image: " + reason,
		Retryable: retryable, Err: err,
	}
}

// TooLarge is the failure of an image of more than limit bytes, downloaded or
// not.
func TooLarge(limit int64) *pipeline.Failure {
	size := fmt.Sprintf("%d bytes", limit)
	if limit%(1<<20) == 0 {
		size = fmt.Sprintf("%d MB", limit>>20)
	}
	return &pipeline.Failure{Code: pipeline.CodeTooLarge, Text: "Image exceeds the maximum size of " + size}
}
