package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrTruncated is returned by [Client.Results] and [Client.Zip] if the response ended before
// it was complete.
var ErrTruncated = errors.New("response is incomplete")

// ErrChanged is returned while an object is read, if it was replaced in the meantime.
var ErrChanged = errors.New("object was replaced while it was read")

// Error is a response of the gateway, or of a proxy in front of it, other than success.
type Error struct {
	Status     int           // HTTP status code
	Text       string        // the member "error" of the response, or a short form of another body
	RetryAfter time.Duration // after which the request may be repeated; 0 if the response has no such field
}

func (e *Error) Error() string {
	if e.Text == "" {
		return fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	}
	return fmt.Sprintf("%s (%d)", e.Text, e.Status)
}

// temporary reports whether the same request may succeed later.
func (e *Error) temporary() bool {
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusRequestTimeout, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	case http.StatusConflict:
		return e.RetryAfter > 0 // a request with the same key is being received
	}
	return false
}

// ImageError is an image that could not be read. The batch was not sent, or not completely,
// and no job was created.
type ImageError struct {
	Index int    // position of the image in the batch
	Name  string // name of the image
	Err   error
}

func (e *ImageError) Error() string { return fmt.Sprintf("image %q: %v", e.Name, e.Err) }

// Unwrap returns the error of the file.
func (e *ImageError) Unwrap() error { return e.Err }

// Limits of what is kept of a response.
const (
	maxJSON      = 64 << 20 // a page of the list with 1,000 jobs of 100 images has about 40 MB
	maxErrorBody = 64 << 10
	maxErrorText = 1 << 10
)

// errorOf returns the error of a response and closes its body.
func errorOf(resp *http.Response) *Error {
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header, time.Now())}
	if to := resp.Header.Get("Location"); resp.StatusCode/100 == 3 && to != "" {
		e.Text = fmt.Sprintf("redirect to %q is not followed; use the address to which it leads", short(to))
		return e
	}
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what arrived is enough
	var body struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(data, &body) == nil {
		e.Text = short(body.Error)
	} else if kind := resp.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/plain") {
		e.Text = short(string(data))
	}
	return e
}

// short limits a text that becomes part of an error, and removes control characters.
func short(text string) string {
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "…"
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.TrimSpace(text)
}

// retryAfter returns the waiting time of Retry-After, in seconds or until an HTTP date (RFC
// 9110, section 10.2.3). A time of less than a second counts as one second; 0 means that
// there is no valid field.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return max(time.Second, time.Duration(seconds)*time.Second)
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if server, err := http.ParseTime(h.Get("Date")); err == nil {
		now = server // the clocks may differ
	}
	return max(time.Second, date.Sub(now))
}
