package download

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/intake/pace"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

// errNoHeader marks errors before the response header. They all have the same text for the
// client: the difference between a port that refuses connections, a filtered port and an
// address that we block would map the internal network.
var errNoHeader = errors.New("no response")

const textNoConnection = "connection failed"

// statusError is a response with a status other than 200, 203, 429 and 503.
type statusError struct {
	code       int
	retryAfter time.Duration // 0 without a Retry-After header
}

func (e *statusError) Error() string { return "status code " + strconv.Itoa(e.code) }

func (e *statusError) temporary() bool {
	return e.code == http.StatusRequestTimeout || e.code == http.StatusTooEarly || e.code >= 500
}

// Get downloads the image at the URL for a job, with the client's header fields, with at most
// three attempts within the budget. Place is the key of the host of which the caller holds a
// place. Get returns a [*pipeline.Failure] when the image cannot be downloaded, a [*LimitedError]
// when it must wait, ErrBusy, or ctx's error. The caller releases the image.
func (c *Client) Get(ctx context.Context, job, raw, place string, headers map[string]string) (*Image, error) {
	u, err := c.Check(raw)
	if err != nil {
		return nil, err
	}
	chosen, err := c.CheckHeaders(headers)
	if err != nil {
		return nil, err
	}
	within, cancel := context.WithTimeoutCause(ctx, c.config.Budget, errSlow)
	defer cancel()
	deadline, _ := within.Deadline()
	for try := 1; ; try++ {
		img, err := c.try(within, job, u, place, chosen)
		if err == nil {
			return img, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		wait, again := c.again(try, err)
		if !again || time.Until(deadline) <= wait {
			return nil, failure(err)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		}
	}
}

// try makes one attempt.
func (c *Client) try(ctx context.Context, job string, u *url.URL, place string, chosen http.Header) (*Image, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.config.Timeout, errSlow)
	defer cancel()
	started := time.Now()
	a, err := c.follow(ctx, u, place, chosen)
	if err != nil {
		return nil, err
	}
	defer a.close()
	switch a.StatusCode {
	case http.StatusOK, http.StatusNonAuthoritativeInfo:
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return nil, &LimitedError{pace.Key(a.Request.URL), a.StatusCode}
	default:
		return nil, &statusError{a.StatusCode, RetryAfter(a.Header.Get("Retry-After"), time.Now())}
	}
	img, err := c.read(ctx, job, a.Response)
	if err != nil && context.Cause(ctx) != nil && !errors.Is(err, ErrBusy) {
		err = fmt.Errorf("read body: %w", context.Cause(ctx))
	}
	if reason := interrupted(err); reason != "" {
		c.config.Hosts.Broke(pace.Key(a.Request.URL), reason, started, time.Now())
	}
	return img, err
}

// again reports whether another attempt may succeed, and how long to wait before it.
func (c *Client) again(try int, err error) (time.Duration, bool) {
	if try == maxTries {
		return 0, false
	}
	if status, ok := errors.AsType[*statusError](err); ok {
		return max(status.retryAfter, c.config.pause(try)), status.temporary()
	}
	return c.config.pause(try), broken(err)
}

// broken reports whether a connection was refused or interrupted, or the name server failed.
func broken(err error) bool {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && !dns.IsNotFound {
		return true
	}
	return errors.Is(err, errSlowLookup) || errors.Is(err, syscall.ECONNREFUSED) || interrupted(err) == pace.Reset
}

// failure converts an error to the failure that the client reads.
func failure(err error) error {
	if _, limited := errors.AsType[*LimitedError](err); limited || errors.Is(err, ErrBusy) {
		return err
	}
	if f, ok := errors.AsType[*pipeline.Failure](err); ok {
		return f
	}
	if status, ok := errors.AsType[*statusError](err); ok {
		return failed(status.Error(), status.temporary(), err)
	}
	switch {
	case errors.Is(err, errNoHeader):
		return failed(textNoConnection, true, err)
	case errors.Is(err, errSlow):
		return failed("timed out", true, err)
	default:
		return failed("the answer broke off", true, err)
	}
}

// RetryAfter parses a Retry-After header, in seconds or as a date (RFC 9110, section 10.2.3).
// It returns 0 for an invalid value.
func RetryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}

// jitter returns about half a second before the second attempt and twice that before the
// third, randomized so that the images of one job do not retry together.
func jitter(try int) time.Duration {
	d := 500 * time.Millisecond << (try - 1)
	return d/2 + rand.N(d)
}
