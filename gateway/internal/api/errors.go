package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// Faults of requests that this package finds itself.
var (
	errBusy    = errors.New("too many uploads")
	errCrowded = errors.New("too many connections")
	errClosing = errors.New("server is stopping")
	errSlow    = errors.New("request body too slow")
	errCutOff  = errors.New("request body cut off")
)

// refusal is an answer that is decided where it is found.
type refusal struct {
	status int
	text   string
	header http.Header // sent with it
}

func (r *refusal) Error() string { return r.text }

func refuse(status int, text string) *refusal { return &refusal{status: status, text: text} }

// retryAfter is what a client is told to wait, in seconds, after a 503.
const retryAfter = "5"

// statuses is the table from errors to answers, the first that fits. What is not
// in it is a 500.
var statuses = []struct {
	err    error
	status int
	text   string
}{
	{job.ErrNotFound, http.StatusNotFound, "Job not found: "},
	{echo.ErrNotFound, http.StatusNotFound, "Not found"},
	{echo.ErrMethodNotAllowed, http.StatusMethodNotAllowed, "Method not allowed"},
	{errSlow, http.StatusRequestTimeout, "Request body arrived too slowly"},
	{intake.ErrNothingToRetry, http.StatusBadRequest, "No failed images to retry"},
	{errCutOff, http.StatusBadRequest, "Request body is incomplete or malformed"},
	{errBusy, http.StatusServiceUnavailable, "Too many uploads at once, try again later"},
	{errCrowded, http.StatusServiceUnavailable, "Too many connections, try again later"},
	{intake.ErrFull, http.StatusServiceUnavailable, "Too many images in progress, try again later"},
	{progress.ErrFull, http.StatusServiceUnavailable, "Too many WebSocket connections, try again later"},
	{errClosing, http.StatusServiceUnavailable, "Server is shutting down, try again later"},
	{progress.ErrClosed, http.StatusServiceUnavailable, "Server is shutting down, try again later"},
	{job.ErrUnavailable, http.StatusServiceUnavailable, "Service temporarily unavailable, try again later"},
	{objectstore.ErrUnavailable, http.StatusServiceUnavailable, "Service temporarily unavailable, try again later"},
	{context.Canceled, http.StatusServiceUnavailable, "Request was cancelled"},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, "Service temporarily unavailable, try again later"},
}

// answer says what a client is told about an error.
func answer(err error, jobID string) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if errors.Is(err, job.ErrKeyTaken) {
		return errReceiving
	}
	if e, ok := errors.AsType[*body.Error](err); ok {
		return refuse(http.StatusBadRequest, e.Text)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge(e.Limit)
	}
	for _, row := range statuses {
		if !errors.Is(err, row.err) {
			continue
		}
		r := refuse(row.status, row.text)
		if row.err == job.ErrNotFound { //nolint:errorlint // It is the row's own error.
			r.text += bounded(jobID)
		}
		if r.status == http.StatusServiceUnavailable {
			r.header = http.Header{"Retry-After": {retryAfter}}
		}
		return r
	}
	return refuse(http.StatusInternalServerError, "Internal server error")
}

func tooLarge(limit int64) *refusal {
	return refuse(http.StatusRequestEntityTooLarge, "Request body exceeds "+strconv.FormatInt(limit, 10)+" bytes")
}

// fail answers a request that went wrong.
func (s *Server) fail(err error, c echo.Context) {
	a := answer(err, c.Param("job_id"))
	s.logFailure(c, a, err)
	if c.Response().Committed {
		cut(c) // half an answer must not look like a whole one
		return
	}
	h := c.Response().Header()
	for _, name := range []string{"Content-Disposition", "Content-Length", "Location"} {
		h.Del(name) // of the answer that was begun
	}
	secure(h)
	maps.Copy(h, a.header)
	_ = writeJSON(c, a.status, errorJSON{a.text, a.status}) // the client may be gone
}

// logFailure tells the operator what the client is not told.
func (s *Server) logFailure(c echo.Context, a *refusal, err error) {
	level, what := slog.LevelDebug, "refused"
	switch {
	case c.Request().Context().Err() != nil: // the client is gone, and nothing else is wrong
	case c.Response().Committed:
		level, what = slog.LevelWarn, "broken off"
	case a.status == http.StatusServiceUnavailable:
		level, what = slog.LevelWarn, "not served"
	case a.status >= http.StatusInternalServerError:
		level, what = slog.LevelError, "went wrong"
	}
	s.deps.Log.LogAttrs(c.Request().Context(), level, "request failed", slog.String("how", what), slog.String("route", route(c)),
		slog.String("job_id", jobID(c)), slog.Int("status", a.status), slog.String("error", bounded(err.Error())))
}

// writeJSON answers with v as JSON.
func writeJSON(c echo.Context, status int, v any) error {
	data, err := encode(v)
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(data)))
	c.Response().WriteHeader(status)
	_, err = c.Response().Write(data)
	return err
}

// encode writes v as one line of JSON that is not meant for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
