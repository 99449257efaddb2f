package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/download"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

const (
	attemptTime = 10 * time.Second
	maxResponse = 4 << 10 // bytes of a response's body that are read
	maxURL      = 2048    // bytes
)

// The outcomes of an attempt.
const (
	delivered   = "delivered"
	rejected    = "rejected"
	gone        = "gone"
	unreachable = "unreachable"
	interrupted = "interrupted" // by the end of the gateway
)

// result is the outcome of one attempt.
type result struct {
	outcome string
	status  int    // 0 without a response
	text    string // the reason of a failure, which a client may see

	retryAfter time.Duration // what the receiver of a rejected message asks for; 0: nothing
}

// client sends the requests.
type client struct {
	userAgent string
	timeout   time.Duration // attemptTime; less in tests
	transport *http.Transport
}

func newClient(c Config) *client {
	dialer := &net.Dialer{
		KeepAlive: -1, Control: download.Guard(c.AllowNetworks),
		// The C library's resolver occupies a thread during a lookup, even after the context is done.
		Resolver: &net.Resolver{PreferGo: true},
	}
	return &client{userAgent: c.UserAgent, timeout: attemptTime, transport: &http.Transport{
		Proxy:       nil, // a proxy would make connections that the guard does not see
		DialContext: dialer.DialContext, DisableCompression: true,
		// The guard checks each connection when it is made.
		DisableKeepAlives:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: 64 << 10,
	}}
}

// CheckURL returns the form in which the URL of a webhook is requested. The text of its error is
// for clients.
func CheckURL(raw string, allow []netip.Prefix) (string, error) {
	if len(raw) > maxURL {
		return "", errors.New("URL is longer than " + strconv.Itoa(maxURL) + " bytes")
	}
	u, err := download.Check(raw)
	if f, ok := errors.AsType[*pipeline.Failure](err); ok {
		return "", errors.New(f.Text)
	}
	if err != nil {
		return "", err
	}
	// A name is checked whenever it is resolved. An address can be checked now.
	if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
		network, port := "tcp6", u.Port()
		if addr.Unmap().Is4() {
			network = "tcp4"
		}
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		if download.Guard(allow)(network, net.JoinHostPort(addr.String(), port), nil) != nil {
			return "", errors.New("URL not allowed: want a public address on port 80 or 443")
		}
	}
	return u.String(), nil
}

// send makes one attempt. The end of ctx interrupts it.
func (c *client) send(ctx context.Context, w *job.Webhook, d job.Delivery, now time.Time) result {
	signature, err := sign(w, d.Message, now, d.Body)
	if err != nil {
		return result{outcome: unreachable, text: "the secret is not usable"}
	}
	within, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	connected := false
	traced := httptrace.WithClientTrace(within, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	req, err := http.NewRequestWithContext(traced, http.MethodPost, w.URL, strings.NewReader(d.Body))
	if err != nil {
		return result{outcome: unreachable, text: "the URL is not usable"}
	}
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {c.userAgent}, "Accept": {"*/*"},
		"Webhook-Id": {d.Message}, "Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)}, "Webhook-Signature": {signature},
	}
	resp, err := c.transport.RoundTrip(req) // which follows no redirect
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return result{outcome: interrupted}
	default:
		return result{outcome: unreachable, text: reason(within, err, connected)}
	}
	// A receiver that sees its response read does not report a broken connection. The status
	// counts, whatever the body does.
	_, _ = io.CopyN(io.Discard, resp.Body, maxResponse)
	_ = resp.Body.Close()
	r := result{outcome: rejected, status: resp.StatusCode, text: "status code " + strconv.Itoa(resp.StatusCode)}
	switch {
	case r.status >= 200 && r.status <= 299:
		r.outcome, r.text = delivered, ""
	case r.status == http.StatusGone:
		r.outcome = gone
	case r.status >= 300 && r.status <= 399:
		r.text += "; redirects are not followed"
	case r.status == http.StatusTooManyRequests, r.status == http.StatusServiceUnavailable:
		r.retryAfter = download.RetryAfter(resp.Header.Get("Retry-After"), now)
	}
	return r
}

// reason returns why there was no response. All errors before the connection have the same text:
// the difference between a port that refuses connections, a filtered port and an address that
// the guard blocks would map the internal network.
func reason(ctx context.Context, err error, connected bool) string {
	if _, invalid := errors.AsType[*tls.CertificateVerificationError](err); invalid {
		return "certificate is not valid"
	}
	switch {
	case !connected:
		return "connection failed"
	case ctx.Err() != nil:
		return "no response within " + strconv.Itoa(int(attemptTime.Seconds())) + " seconds"
	}
	return "no valid response"
}
