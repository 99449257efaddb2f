package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/coding"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
)

// refusal is the response to a request that the server does not fulfil.
type refusal struct {
	status     int
	text       string
	retryAfter int // seconds; 0: no Retry-After
	header     http.Header
}

func (r *refusal) Error() string { return r.text }

// with formats the text with args.
func (r refusal) with(args ...any) *refusal {
	r.text = fmt.Sprintf(r.text, args...)
	return &r
}

func (r refusal) after(seconds int) *refusal {
	r.retryAfter = seconds
	return &r
}

// field sets the header of the response to one field.
func (r refusal) field(name, value string) *refusal {
	r.header = http.Header{name: {value}}
	return &r
}

// All refusals, by status. [body.Error] and [coding.Error] have the texts for a malformed
// batch.
var (
	errCutOff          = &refusal{400, "Request body is incomplete or malformed", 0, nil}
	errQuery           = &refusal{400, "Invalid query: want name=value, joined by &", 0, nil}
	errLimit           = &refusal{400, "limit must be a number from 1 to %d", 0, nil}
	errPageToken       = &refusal{400, "page_token is invalid", 0, nil}
	errOtherList       = &refusal{400, "page_token belongs to a list with other filters or another order", 0, nil}
	errParameter       = &refusal{400, "%s must be %s", 0, nil}
	errRepeated        = &refusal{400, "%s must not be repeated", 0, nil}
	errIdempotencyKey  = &refusal{400, idempotencyKey + " must be one value of 1 to 255 printable ASCII characters", 0, nil}
	errPartial         = &refusal{400, "partial must be true or false", 0, nil}
	errInclude         = &refusal{400, "include must be a list of file, metadata, xmp and thumbnail", 0, nil}
	errPaths           = &refusal{400, "paths must be custom_id", 0, nil}
	errNothingToRetry  = &refusal{400, "No failed images to retry", 0, nil}
	errNothingToRepeat = &refusal{400, "No images to reprocess: none of them is stored or has a URL", 0, nil}
	errNoIndex         = &refusal{400, "images[%d] must be from 0 to %d, the last image of the job", 0, nil}
	errTooManyImages   = &refusal{400, "Too many images (>%d)", 0, nil}
	errSocketVersion   = &refusal{400, "Unsupported WebSocket version, only 13 is supported", 0, http.Header{"Sec-Websocket-Version": {"13"}}}
	errSocketKeys      = &refusal{400, "Sec-WebSocket-Key is missing or not unique", 0, nil}
	errSocketKey       = &refusal{400, "Sec-WebSocket-Key is not 16 bytes in base64", 0, nil}
	errWebhookBody     = &refusal{400, `Invalid JSON: want {"url": "https://…", "events": […]}`, 0, nil}
	errWebhookURL      = &refusal{400, "url is required", 0, nil}
	errWebhook         = &refusal{400, "%s", 0, nil}
	errDownloadBody    = &refusal{400, `Invalid JSON: want {"what": "zip"}, or {"what": "file", "image": 0}`, 0, nil}
	errDownloadWhat    = &refusal{400, "what must be zip, jsonl, file, original, metadata or xmp", 0, nil}
	errDownloadImage   = &refusal{400, "image is required: the index of the image, from 0", 0, nil}
	errKeyMissing      = &refusal{401, "API key required", 0, http.Header{"Www-Authenticate": {`Bearer realm="imagebatch"`}}}
	errKeyUnknown      = &refusal{401, "API key unknown", 0, http.Header{"Www-Authenticate": {`Bearer realm="imagebatch", error="invalid_token"`}}} // also for removed keys
	errOrigin          = &refusal{403, "Origin not allowed; ALLOWED_ORIGINS names those that are", 0, nil}
	errNoWebhooks      = &refusal{403, "Webhooks are created with an API key, and this server has none; WEBHOOKS_FILE lists the operator's webhooks", 0, nil}
	errNotOperator     = &refusal{403, "API key is not an operator's", 0, nil}
	errNoRoute         = &refusal{404, "Not found", 0, nil}
	errNoJob           = &refusal{404, "Job not found: %s", 0, nil}
	errNoImage         = &refusal{404, "Image not found: images[%s]", 0, nil}
	errNoResult        = &refusal{404, "No result: images[%d] is %s", 0, nil}
	errResultDeleted   = &refusal{404, "No result: that of images[%d] is no longer kept", 0, nil}
	errNoSidecar       = &refusal{404, "No result: images[%d] has no sidecar", 0, nil}
	errNoOriginal      = &refusal{404, "No original: that of images[%d] is not stored", 0, nil}
	errOriginalDeleted = &refusal{404, "No original: that of images[%d] is no longer kept", 0, nil}
	errNoDownload      = &refusal{404, "Download not found: each path is valid once, and for 60 seconds", 0, nil}
	errNoWebhook       = &refusal{404, "Webhook not found: %s", 0, nil}
	errNoDeadLetter    = &refusal{404, "Dead letter not found: %s/%s", 0, nil}
	errMethod          = &refusal{405, "Method not allowed", 0, nil}
	errSlow            = &refusal{408, "Request body arrived too slowly", 0, nil}
	errEnded           = &refusal{409, "Job has already ended: %s", 0, nil}
	errNotEnded        = &refusal{409, "Job has not ended: %s", 0, nil}
	errWebhooks        = &refusal{409, "This API key's name already has %d webhooks; delete one first", 0, nil}
	errWebhookListed   = &refusal{409, "Webhook is listed in WEBHOOKS_FILE: only a change of that file changes it", 0, nil}
	errWebhookDisabled = &refusal{409, "Webhook is disabled: delete it and create it again", 0, nil}
	errReceiving       = &refusal{409, "A request with this " + idempotencyKey + " is still being received", 1, nil}
	errDeadLettersBusy = &refusal{409, "Dead letters are being read, try again later", 2, nil}
	errDeadLetterLeft  = &refusal{409, "Dead letter stays: %s", 0, nil}
	errPrecondition    = &refusal{412, "The result does not have the ETag in If-Match", 0, nil}
	errTooLarge        = &refusal{413, "Request body exceeds %d bytes", 0, nil}
	errCoding          = &refusal{415, "Content-Encoding not supported; want " + coding.Accepted + " or none", 0, http.Header{"Accept-Encoding": {coding.Accepted}}}
	errRange           = &refusal{416, "Range is outside of the %d bytes of the result", 0, nil}
	errHost            = &refusal{421, "Host not allowed; ALLOWED_HOSTS names those that are", 0, nil}
	errKeyReused       = &refusal{422, idempotencyKey + " was used with a different request", 0, nil}
	errNoUpgrade       = &refusal{426, "This endpoint speaks WebSocket only", 0, http.Header{"Upgrade": {"websocket"}, "Connection": {"Upgrade"}}}
	errRequestQuota    = &refusal{429, "Too many requests, try again later", 0, nil} // the limiter sets Retry-After
	errByteQuota       = &refusal{429, "Too many bytes uploaded, try again later", 0, nil}
	errMemoryShare     = &refusal{429, "Too many uploads at once with this API key, try again later", 1, nil}
	errArchiveShare    = &refusal{429, "Too many downloads of results.zip at once with this API key, try again later", 5, nil}
	errOpenImagesQuota = &refusal{429, "Too many images in progress with this API key, try again later", 5, nil}
	errDownloads       = &refusal{429, "Too many unused downloads, try again later", 5, nil}
	errWatcherQuota    = &refusal{429, "Too many WebSocket connections, event streams and waiting requests with this API key, try again later", 5, nil}
	errInternal        = &refusal{500, "Internal server error", 0, nil}
	errNoMemory        = &refusal{503, "Too many uploads at once, try again later", 5, nil}
	errNoArchiveMemory = &refusal{503, "Too many downloads of results.zip at once, try again later", 5, nil}
	errConnections     = &refusal{503, "Too many connections, try again later", 5, nil}
	errOpenImages      = &refusal{503, "Too many images in progress, try again later", 5, nil}
	errWatchers        = &refusal{503, "Too many WebSocket connections, event streams and waiting requests, try again later", 5, nil}
	errResultDenied    = &refusal{503, "Object storage does not find the result of images[%d], try again later", 5, nil}
	errClosing         = &refusal{503, "Server is shutting down, try again later", 5, nil}
	errUnavailable     = &refusal{503, "Service temporarily unavailable, try again later", 5, nil}
	errRefused         = &refusal{503, "Object storage refuses requests until an operator corrects it, try again later", 60, nil} // /readyz has the reason
	errCancelled       = &refusal{503, "Request was cancelled", 5, nil}
)

// refusals maps the errors of the domain and of Echo to responses. The first match counts.
var refusals = []struct {
	err     error
	refusal *refusal
}{
	{echo.ErrNotFound, errNoRoute},
	{echo.ErrMethodNotAllowed, errMethod},
	{job.ErrKeyTaken, errReceiving},
	{job.ErrNoDownload, errNoDownload},
	{job.ErrTooManyDownloads, errDownloads},
	{job.ErrTooManyWebhooks, errWebhooks.with(job.MaxWebhooks)},
	{job.ErrWebhookListed, errWebhookListed},
	{job.ErrWebhookDisabled, errWebhookDisabled},
	{intake.ErrFull, errOpenImages},
	{progress.ErrFull, errWatchers},
	{progress.ErrClosed, errClosing},
	{job.ErrUnavailable, errUnavailable},
	{broker.ErrInUse, errDeadLettersBusy},
	{broker.ErrStale, errUnavailable}, // the session ended; what was not acked is on the queue again
	{broker.ErrUnavailable, errUnavailable},
	{objectstore.ErrRefused, errRefused},
	{objectstore.ErrUnavailable, errUnavailable},
	{objectstore.ErrChanged, errUnavailable}, // again and again
	{context.Canceled, errCancelled},
	{context.DeadlineExceeded, errUnavailable},
}

// refusalOf returns the response to an error. It hides the text of an unknown error from
// the client.
func refusalOf(err error, jobID string) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if e, ok := errors.AsType[*body.Error](err); ok {
		return &refusal{status: http.StatusBadRequest, text: e.Text}
	}
	if e, ok := errors.AsType[*coding.Error](err); ok {
		return &refusal{status: http.StatusBadRequest, text: e.Text}
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errTooLarge.with(e.Limit)
	}
	if errors.Is(err, job.ErrNotFound) {
		return errNoJob.with(jobID)
	}
	for _, row := range refusals {
		if errors.Is(err, row.err) {
			return row.refusal
		}
	}
	return errInternal
}

// fail responds to a request with its error and logs the error.
func (s *Server) fail(err error, c echo.Context) {
	r, d := refusalOf(err, bounded(c.Param("job_id"))), detailsOf(c)
	level, how := slog.LevelDebug, "refused"
	switch {
	case c.Request().Context().Err() != nil: // the client disconnected, which is not the server's fault
	case c.Response().Committed:
		level, how = slog.LevelWarn, "interrupted"
	case r.status == http.StatusServiceUnavailable:
		level, how = slog.LevelWarn, "unavailable"
	case r.status >= http.StatusInternalServerError:
		level, how = slog.LevelError, "failed"
	}
	s.deps.Log.LogAttrs(c.Request().Context(), level, "request failed", slog.String("how", how), slog.String("route", d.Label),
		slog.String("job_id", d.jobID), slog.Int("status", r.status), slog.String("error", bounded(err.Error())))
	if c.Response().Committed {
		abort(c) // a partial response must not look complete
		return
	}
	h := c.Response().Header()
	for _, name := range []string{"Content-Disposition", "Content-Length", "Location"} {
		h.Del(name) // the handler set it for its own response
	}
	secure(h)
	maps.Copy(h, r.header)
	if r.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	_ = writeJSON(c, r.status, errorJSON{r.text, r.status}) // the client may have disconnected
}

// writeJSON responds with v as JSON, which must not be stored.
func writeJSON(c echo.Context, status int, v any) error { return writeCached(c, status, v, noStore) }

// writeCached responds with v as JSON, with the Cache-Control header.
func writeCached(c echo.Context, status int, v any, cacheControl string) error {
	data, err := encode(v)
	if err != nil {
		return err
	}
	startJSON(c, cacheControl)
	c.Response().Header().Set("Content-Length", strconv.Itoa(len(data)))
	c.Response().WriteHeader(status)
	_, err = c.Response().Write(data)
	return err
}

// startJSON sets the headers of a JSON response.
func startJSON(c echo.Context, cacheControl string) {
	c.Response().Header().Set("Content-Type", "application/json")
	c.Response().Header().Set("Cache-Control", cacheControl)
}

// encode returns v as one line of JSON, without escapes for HTML.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}
