// Package client sends batches of images to an Imagebatch gateway, follows their jobs and
// fetches the results. It needs only the standard library.
//
//	c, err := client.New("http://localhost:8080")
//	job, err := c.Create(ctx, []client.Image{client.File("beach.jpg")})
//	job, err = c.Wait(ctx, job.ID)
//
// A Client guarantees:
//
//   - Each batch becomes one job, however often it has to be sent. [Client.Create] and
//     [Client.Retry] choose an idempotency key unless one is given.
//   - It holds no batch in memory. Images are read while they are sent, and objects are
//     passed on while they arrive. The memory for a response in JSON is limited.
//   - Requests are repeated after a broken connection, and after a response that asks for
//     it: 429 and 503, and 409 with Retry-After; also 408, 502 and 504, which a proxy
//     sends for a gateway that is restarting. The waiting time follows Retry-After, or grows,
//     and is random in part, so that many clients do not return at the same time. The number
//     of attempts and each waiting time are limited, and the context ends everything.
//   - The API key is sent only to the address that New was given. A redirect to another
//     host, port or scheme is an error.
//
// It does not follow a job over a WebSocket, and it stores nothing: a program that must survive
// its own end keeps the idempotency key of a batch before it sends it.
//
// All methods may be called concurrently.
package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Client sends requests to one gateway. Create it with [New].
type Client struct {
	base    *url.URL
	http    *http.Client
	key     string
	agent   string
	retries int
	maxWait time.Duration
	stall   time.Duration // for a body on which no byte arrives
	notify  func(err error, wait time.Duration)
	sleep   func(context.Context, time.Duration) error
}

// Option configures a [Client].
type Option func(*Client)

// WithAPIKey sets the API key, which authenticates every request.
func WithAPIKey(key string) Option { return func(c *Client) { c.key = key } }

// WithHTTPClient sets the HTTP client, for example one with a proxy or a certificate of its own.
// Its Timeout also ends downloads and [Client.Watch]; a context is the better limit. Its CheckRedirect
// is replaced.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithUserAgent sets the User-Agent. It should name the program and its version.
func WithUserAgent(agent string) Option { return func(c *Client) { c.agent = agent } }

// WithRetries sets how often a request is repeated at most; the default is 10. With 0, every
// error is returned immediately.
func WithRetries(n int) Option { return func(c *Client) { c.retries = max(0, n) } }

// WithMaxWait sets the longest time to wait between two attempts; the default is 2 minutes. If
// a response asks for a longer time, its [*Error] is returned.
func WithMaxWait(d time.Duration) Option { return func(c *Client) { c.maxWait = d } }

// WithRetryNotice sets a function that is called before each wait, with the error because of which
// a request is repeated. It may be called concurrently.
func WithRetryNotice(f func(err error, wait time.Duration)) Option {
	return func(c *Client) { c.notify = f }
}

// New returns a client for the gateway at an address such as https://images.example.com/base.
// The address may have a path, if the gateway has a base path.
func New(address string, options ...Option) (*Client, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("address of the gateway: %w", err)
	}
	switch {
	case base.Scheme != "http" && base.Scheme != "https", base.Host == "":
		return nil, fmt.Errorf("address of the gateway: %q must start with http:// or https:// and a host", base.Redacted())
	case base.RawQuery != "" || base.Fragment != "":
		return nil, fmt.Errorf("address of the gateway: %q must not have a query or a fragment", base.Redacted())
	}
	c := &Client{
		base: base, agent: "imagebatch-client/" + Version + " (+https://github.com/imagebatch/imagebatch)",
		retries: 10, maxWait: 2 * time.Minute, stall: 90 * time.Second,
		notify: func(error, time.Duration) {}, sleep: sleep,
	}
	for _, option := range options {
		option(c)
	}
	if c.key != "" && base.User != nil {
		return nil, errors.New("address of the gateway: it must not have a user if there is an API key")
	}
	if strings.ContainsFunc(c.key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errors.New("API key has a space or a character outside ASCII")
	}
	own := http.Client{}
	if c.http != nil {
		own = *c.http
	} else {
		own.Transport = newTransport()
	}
	own.CheckRedirect = checkRedirect
	c.http = &own
	return c, nil
}

// Version is the version of this package: that of the release, or the next one with the suffix
// -dev.
const Version = "0.1.0-dev"

// newTransport returns a transport that waits only so long for the start of a response. The gateway
// waits at most 30 s for a change of a job.
func newTransport() http.RoundTripper {
	shared, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return http.DefaultTransport
	}
	own := shared.Clone()
	own.ResponseHeaderTimeout = 2 * time.Minute
	own.MaxIdleConnsPerHost = 16 // parallel downloads
	return own
}

// checkRedirect follows a redirect of a GET within the same origin. Go's own rule forwards
// the API key to subdomains and other ports, and repeats a POST as a GET.
func checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	same := next.URL.Scheme == first.Scheme && strings.EqualFold(next.URL.Host, first.Host)
	if !same || via[0].Method != http.MethodGet || len(via) >= 5 {
		return http.ErrUseLastResponse
	}
	return nil
}

// NewIdempotencyKey returns a random key for [WithIdempotencyKey].
func NewIdempotencyKey() string { return rand.Text() }

// sleep waits, at most until ctx is done.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
