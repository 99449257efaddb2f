package download

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/pace"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// LimitedError is returned when a host answered 429 or 503, or when a redirect leads to a host
// that gets no further request for now. The caller must try again when that host has a place; the
// image is not at fault.
type LimitedError struct {
	Host   string // key of the host, which differs from the URL's after a redirect
	Status int    // 0: the host was not asked
}

func (e *LimitedError) Error() string {
	return "host limits requests: status code " + strconv.Itoa(e.Status)
}

// Limited returns the failure of an image that has waited for its host for too long. The status
// is that of the host's last 429 or 503, or 0 if requests timed out or were reset.
func Limited(wait time.Duration, status int) *pipeline.Failure {
	if status == 0 {
		return failed(textNoConnection, true, nil)
	}
	return failed("the host still limits requests after "+wait.String()+" (status code "+strconv.Itoa(status)+")", true, nil)
}

// TimedOut reports whether a download ended because its host was too slow.
func TimedOut(err error) bool { return errors.Is(err, errSlowHeader) || errors.Is(err, errSlow) }

// learn records the outcome of one request: its response, or the error before the header.
func (c *Client) learn(u *url.URL, address string, started time.Time, resp *http.Response, err error) {
	key, now := pace.Key(u), time.Now()
	switch {
	case err != nil:
		if reason := interrupted(err); reason != "" {
			c.config.Hosts.Broke(key, reason, started, now)
		}
	case pace.ReasonOf(resp.StatusCode) != "":
		c.config.Hosts.Limited(key, address, resp.StatusCode, RetryAfter(resp.Header.Get("Retry-After"), now), started, now)
	default:
		c.config.Hosts.Answered(key, started, now)
	}
}

// interrupted returns why a host is asked less after an error, or "". A refused connection or a
// name that cannot be resolved is not a sign of load.
func interrupted(err error) pace.Reason {
	if TimedOut(err) {
		return pace.Timeout
	}
	for _, target := range []error{syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, target) {
			return pace.Reset
		}
	}
	return ""
}

// visit counts a request to a host of which the caller holds no place, until leave is called. It
// returns a [*LimitedError] if the host has none.
func (c *Client) visit(u *url.URL, place string) (leave func(), err error) {
	key := pace.Key(u)
	if key == place {
		return func() {}, nil
	}
	if leave = c.config.Hosts.Visit(key, time.Now()); leave == nil {
		return nil, &LimitedError{Host: key}
	}
	return leave, nil
}

// progress is what a request has reached.
type progress struct {
	lookingUp atomic.Bool
	connected atomic.Pointer[net.Addr]
}

// trace follows the progress of a request with the returned context.
func trace(ctx context.Context) (context.Context, *progress) {
	p := new(progress)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { p.lookingUp.Store(true) },
		DNSDone:  func(httptrace.DNSDoneInfo) { p.lookingUp.Store(false) },
		GotConn: func(i httptrace.GotConnInfo) {
			remote := i.Conn.RemoteAddr()
			p.connected.Store(&remote)
		},
	}), p
}

// late returns the reason for cancelling a request whose time has ended.
func (p *progress) late() error {
	if p.lookingUp.Load() {
		return errSlowLookup
	}
	return errSlowHeader
}

// address returns the key of the address to which the request is connected, or "".
func (p *progress) address() string {
	if remote := p.connected.Load(); remote != nil {
		return pace.AddressKey(*remote)
	}
	return ""
}
