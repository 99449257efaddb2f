package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// request is what is sent, as often as necessary.
type request struct {
	method string
	path   []string // below /api/v1, unescaped
	query  url.Values
	header http.Header
	body   *form  // nil: no form
	json   []byte // body if there is no form; nil: none
}

// endpoint returns the URL of a request.
func (c *Client) endpoint(r request) (string, error) {
	escaped := make([]string, len(r.path))
	for i, part := range r.path {
		if part == "" || part == "." || part == ".." { // they would name another route
			return "", fmt.Errorf("%q is not the ID of a job", part)
		}
		escaped[i] = url.PathEscape(part)
	}
	u := *c.base
	u = *u.JoinPath("api/v1/" + strings.Join(escaped, "/"))
	u.RawQuery = r.query.Encode()
	return u.String(), nil
}

// send sends the request once and returns a response of success, 304 included. Any other
// response is an *Error. The caller closes the body.
func (c *Client) send(ctx context.Context, r request) (resp *http.Response, err error) {
	address, err := c.endpoint(r)
	if err != nil {
		return nil, &Error{Status: http.StatusNotFound, Text: err.Error()}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		if err != nil {
			cancel() // otherwise the caller closes the body
		}
	}()
	// A bytes.Reader of no bytes is no body.
	req, err := http.NewRequestWithContext(ctx, r.method, address, bytes.NewReader(r.json))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, r.header)
	req.Header.Set("User-Agent", c.agent)
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	if r.json != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	var body *formReader
	if r.body != nil {
		// The transport asks for another body if it finds a connection closed before it was used.
		req.GetBody = func() (io.ReadCloser, error) {
			body = r.body.open()
			return body, nil
		}
		req.Body, _ = req.GetBody() // it has no error
		req.ContentLength = r.body.size
		req.Header.Set("Content-Type", r.body.contentType())
		req.Header.Set("Expect", "100-continue") // a batch that is refused is not uploaded first
	}
	resp, err = c.http.Do(req)
	if err == nil {
		resp.Body = guard(resp.Body, cancel, c.stall)
	}
	if body != nil {
		if failure := body.failure(); failure != nil {
			if err == nil {
				resp.Body.Close()
			}
			return nil, failure
		}
	}
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 && resp.StatusCode != http.StatusNotModified {
		return nil, errorOf(resp)
	}
	return resp, nil
}

// do sends the request until it succeeds, fails for good, or has been repeated as often as
// allowed. It also returns the number of attempts.
func (c *Client) do(ctx context.Context, r request) (*http.Response, int, error) {
	for attempt := 1; ; attempt++ {
		resp, err := c.send(ctx, r)
		if err == nil {
			return resp, attempt, nil
		}
		if err := c.pause(ctx, err, attempt); err != nil {
			return nil, attempt, err
		}
	}
}

// pause waits before the request is repeated after the attempt. It returns an error if the
// request must not be repeated: usually the error of the attempt.
func (c *Client) pause(ctx context.Context, err error, attempt int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	wait := backoff(attempt)
	if e, ok := errors.AsType[*Error](err); ok {
		if !e.temporary() {
			return err
		}
		if e.RetryAfter > 0 {
			// At least that long, and up to a tenth longer.
			wait = e.RetryAfter + rand.N(e.RetryAfter/10+time.Second)
			if e.RetryAfter > c.maxWait {
				return err
			}
		}
	} else if _, local := errors.AsType[*ImageError](err); local {
		return err
	}
	if attempt > c.retries {
		if attempt > 1 {
			return fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		return err
	}
	wait = min(wait, c.maxWait)
	c.notify(err, wait)
	return c.sleep(ctx, wait)
}

// backoff returns the time to wait after the attempt: random, and growing to 30 s.
func backoff(attempt int) time.Duration {
	most := min(30*time.Second, 500*time.Millisecond<<min(attempt, 10))
	return most/2 + rand.N(most/2)
}

// call sends the request and decodes the JSON of the response.
func (c *Client) call(ctx context.Context, r request, out any) (attempts int, err error) {
	for {
		resp, n, err := c.do(ctx, r)
		attempts += n
		if err != nil {
			return attempts, err
		}
		if err = decode(resp, out); err == nil {
			return attempts, nil
		}
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) || errors.Is(err, errTooLong) || errors.Is(err, errNotJSON) {
			return attempts, err
		}
		if err := c.pause(ctx, err, attempts); err != nil { // the connection broke
			return attempts, err
		}
	}
}

var (
	errTooLong = errors.New("response is too long")
	errNotJSON = errors.New("response is not JSON; is this the address of an Imagebatch gateway?")
)

// decode reads the JSON of a response and closes its body.
func decode(resp *http.Response, out any) error {
	defer resp.Body.Close()
	if kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";"); kind != "application/json" {
		return errNotJSON
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON+1))
	switch {
	case err != nil:
		return fmt.Errorf("read response: %w", err)
	case len(data) > maxJSON:
		return errTooLong
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%w: %w", errNotJSON, err)
	}
	return nil
}

// guarded is the body of a response with a limit for the time that one read takes: a
// connection whose other end has vanished would otherwise stay open for hours.
type guarded struct {
	io.ReadCloser
	cancel context.CancelFunc // ends the request, and with it a read
	timer  *time.Timer
	limit  time.Duration
}

func guard(body io.ReadCloser, cancel context.CancelFunc, limit time.Duration) *guarded {
	timer := time.AfterFunc(limit, cancel)
	timer.Stop()
	return &guarded{body, cancel, timer, limit}
}

func (g *guarded) Read(p []byte) (int, error) {
	g.timer.Reset(g.limit)
	n, err := g.ReadCloser.Read(p)
	if inTime := g.timer.Stop(); !inTime && err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("no data for %s: %w", g.limit, io.ErrUnexpectedEOF)
	}
	return n, err
}

func (g *guarded) Close() error {
	g.timer.Stop()
	defer g.cancel()
	return g.ReadCloser.Close()
}
