package vision

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/analyzer/internal/record"
	"github.com/imagebatch/imagebatch/shared/service"
)

// maxReply bounds a response, in bytes. An answer of CAPTION_MAX_TOKENS has a few kilobytes, and the reasoning before
// it rarely more than a hundred.
const maxReply = 1 << 20

// maxNames bounds the part of an unknown error that is searched for the names of members, in bytes.
const maxNames = 4 << 10

// outcome classifies one request, for the metrics and for what follows from it.
type outcome string

const (
	answered      outcome = "answered"
	unusableReply outcome = "unusable"      // ask once more
	refused       outcome = "refused"       // the model does not want to describe the image
	rejected      outcome = "rejected"      // another 4xx: it concerns this image
	misconfigured outcome = "configuration" // key, money, URL or model is wrong
	unsupported   outcome = "unsupported"   // a 400 that names a member: ask without it
	limited       outcome = "limited"       // 429
	failed        outcome = "failed"        // 5xx
	timedOut      outcome = "timeout"
	unreachable   outcome = "unreachable" // the connection failed
)

var outcomes = []outcome{
	answered, unusableReply, refused, rejected, misconfigured, unsupported, limited, failed, timedOut, unreachable,
}

// fault is the error of a request that returned no response of a model.
type fault struct {
	outcome outcome
	detail  string        // for the log and the operator, without secrets
	names   string        // what an error says about members, for unsupported
	after   time.Duration // time that the server asked to wait
}

func (f *fault) Error() string { return f.detail }

var errRefused = errors.New("the model refused to describe the image")

// apiError is the error in a response. Servers agree on little: it is an object or a text, in "error" or at the top.
type apiError struct {
	Message, Type, Param, Code string
	Reset                      string // OpenRouter's copy of X-RateLimit-Reset
}

// UnmarshalJSON accepts every form, and ignores what it does not know.
func (e *apiError) UnmarshalJSON(data []byte) error {
	var members struct {
		Message, Type, Param, Code any
		Metadata                   struct {
			Headers map[string]any `json:"headers"`
		} `json:"metadata"`
	}
	*e = apiError{}
	if json.Unmarshal(data, &e.Message) == nil {
		return nil
	}
	// A member of another type leaves the others set.
	_ = json.Unmarshal(data, &members)
	e.Message, e.Type, e.Param = text(members.Message), text(members.Type), text(members.Param)
	switch code := members.Code.(type) {
	case string:
		e.Code = code
	case float64:
		e.Code = strconv.FormatFloat(code, 'f', -1, 64)
	}
	for name, value := range members.Metadata.Headers {
		if strings.EqualFold(name, "X-RateLimit-Reset") {
			e.Reset = fmt.Sprint(value)
		}
	}
	return nil
}

// errorIn returns the error in the body of a response, or nil.
func errorIn(body []byte) *apiError {
	var outer struct {
		Error   *apiError       `json:"error"`
		Message json.RawMessage `json:"message"`
		Object  string          `json:"object"`
		Choices json.RawMessage `json:"choices"`
	}
	if json.Unmarshal(body, &outer) != nil {
		return nil
	}
	if outer.Error == nil && outer.Message != nil && outer.Choices == nil {
		outer.Error = new(apiError)
		_ = outer.Error.UnmarshalJSON(body)
	}
	return outer.Error
}

// send sends one request and returns the response of the model. Errors are *fault and ctx's.
func (c *Client) send(ctx context.Context, body []byte) (reply, error) {
	requesting, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	requesting, span := c.deps.Traces.Part(requesting, "POST chat/completions")
	defer span.End()
	req, err := http.NewRequestWithContext(requesting, http.MethodPost, c.endpoint, bytes.NewReader(body))
	if err != nil {
		return reply{}, &fault{outcome: misconfigured, detail: "CAPTION_URL cannot be requested"}
	}
	req.Header = c.header.Clone()
	status, data := 0, []byte(nil)
	if c.deps.Observe != nil {
		defer func() { c.deps.Observe(body, status, data) }()
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return reply{}, c.connectionFault(ctx, requesting, err)
	}
	defer resp.Body.Close()
	status = resp.StatusCode
	span.Responded(status)
	data, err = io.ReadAll(io.LimitReader(resp.Body, maxReply)) // a longer one is cut and is not JSON
	if err != nil {
		return reply{}, c.connectionFault(ctx, requesting, err)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // some proxies add a byte order mark
	return c.classify(status, resp.Header, data)
}

// connectionFault returns the fault of a request without a complete response.
func (c *Client) connectionFault(ctx, requesting context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err() //nolint:wrapcheck // It is the caller's.
	case requesting.Err() != nil:
		return &fault{outcome: timedOut, detail: "no response within CAPTION_TIMEOUT"}
	default:
		if u, ok := errors.AsType[*url.Error](err); ok { // It would show the query, which may contain a key.
			err = fmt.Errorf("%v: %w", service.SecretURL(c.endpoint), u.Err)
		}
		return &fault{outcome: unreachable, detail: record.Clean(err.Error(), 200)}
	}
}

// classify returns the response of a model, or the fault that a response states.
func (c *Client) classify(status int, header http.Header, body []byte) (reply, error) {
	e := errorIn(body)
	var r reply
	if status >= 200 && status < 300 {
		err := json.Unmarshal(body, &r)
		if len(r.Choices) > 0 && r.Choices[0].Error != nil {
			e = r.Choices[0].Error
		}
		if e == nil || *e == (apiError{}) && len(r.Choices) > 0 { // some servers always send the member
			// A member of another type, such as a count of tokens in quotes, leaves the others set.
			if _, mismatch := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !mismatch {
				return r, unusable("the response is not JSON of the API")
			}
			return r, nil
		}
		// OpenRouter reports faults of a provider in a response of status 200.
		if status, err = strconv.Atoi(e.Code); err != nil || status < 400 || status > 599 {
			status = http.StatusBadGateway
		}
	}
	if e == nil {
		e = &apiError{}
	}
	f := &fault{detail: fmt.Sprintf("status %d", status), after: after(header, e.Reset, c.now())}
	if e.Message != "" {
		message := e.Message
		if key := c.config.APIKey.Reveal(); key != "" {
			message = strings.ReplaceAll(message, key, "xxxxx")
		}
		f.detail += ": " + record.Clean(message, 200)
	}
	switch {
	case status == http.StatusTooManyRequests && e.Code != "insufficient_quota" && e.Type != "insufficient_quota":
		f.outcome = limited
	case status == http.StatusUnauthorized, status == http.StatusPaymentRequired, status == http.StatusForbidden,
		status == http.StatusNotFound, status == http.StatusTooManyRequests, status < 400:
		f.outcome = misconfigured // a redirect is not followed: it could send the key to another host
	case status == http.StatusRequestTimeout:
		f.outcome = timedOut // the server gave up
	case status >= 500:
		f.outcome = failed
	default:
		f.outcome = rejected
		if status == http.StatusBadRequest || status == http.StatusUnprocessableEntity {
			f.names = e.Param + " " + e.Message
			if e.Message == "" { // Mistral and others: a list of faults in a form of its own
				f.names = string(body[:min(len(body), maxNames)])
			}
		}
	}
	return r, f
}

// maxAfter bounds the time that a server can ask to wait.
const maxAfter = time.Hour

// after returns the time that the headers of a response ask to wait, or 0.
func after(h http.Header, reset string, now time.Time) time.Duration {
	bounded := func(seconds float64) time.Duration {
		if !(seconds > 0) { // also NaN
			return 0
		}
		return time.Duration(math.Min(seconds, maxAfter.Seconds()) * float64(time.Second))
	}
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil {
		return bounded(ms / 1000)
	}
	if text := h.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseFloat(text, 64); err == nil {
			return bounded(seconds)
		}
		if at, err := http.ParseTime(text); err == nil {
			return bounded(at.Sub(now).Seconds())
		}
	}
	if own := h.Get("X-RateLimit-Reset"); own != "" {
		reset = own
	}
	if n, err := strconv.ParseFloat(reset, 64); err == nil {
		switch since := float64(now.UnixMilli()) / 1000; {
		case n > 1e11: // milliseconds since 1970, as OpenRouter sends them
			return bounded(n/1000 - since)
		case n > 1e8: // seconds since 1970
			return bounded(n - since)
		default:
			return bounded(n)
		}
	}
	if d, err := time.ParseDuration(reset); err == nil { // "6m0s"
		return bounded(d.Seconds())
	}
	return 0
}
