package api

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// figures are the metrics.
type figures struct {
	requests *telemetry.Counter
	duration *telemetry.Histogram
	sockets  *telemetry.Gauge
	closes   *telemetry.Counter
	in, out  *telemetry.Counter
	refusals *telemetry.Counter
}

// full counts a connection past the limit.
func (f figures) full(p place) {
	if p == turnedAway {
		f.refusals.Inc("answered")
	} else {
		f.refusals.Inc("closed")
	}
}

func newFigures(m *telemetry.Registry) figures {
	return figures{
		requests: m.Counter("http_requests_total", "Requests, by route, method and status.", "route", "method", "status"),
		duration: m.Histogram("http_request_duration_seconds", "Time of a request, WebSockets excepted.",
			[]float64{.001, .005, .025, .1, .5, 2.5, 10, 60, 600}, "route", "method"),
		sockets:  m.Gauge("websockets", "Open WebSockets."),
		closes:   m.Counter("websockets_closed_total", "WebSockets that ended, by why; slow: the client did not take a frame in time, silent: nothing came from it.", "why").From0("slow", "silent"),
		in:       m.Counter("http_request_bytes_total", "Bytes of request bodies that said how long they are, by route.", "route"),
		out:      m.Counter("http_response_bytes_total", "Bytes of response bodies, WebSockets excepted, by route.", "route"),
		refusals: m.Counter("connections_refused_total", "Connections past the limit, by how they were refused.", "how"),
	}
}

// observe surrounds every request: it answers errors and panics, counts and
// logs.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := time.Now()
		span := s.trace(c)
		defer span.End()
		if err := s.guard(next, c); err != nil {
			s.fail(err, c)
		}
		took, status := time.Since(began), c.Response().Status
		route, method := route(c), method(c.Request())
		span.Answered(status)
		span.SetString("job_id", jobID(c))
		s.figures.requests.Inc(route, method, strconv.Itoa(status))
		s.figures.in.Add(float64(max(0, c.Request().ContentLength)), route)
		s.figures.out.Add(float64(max(0, c.Response().Size)), route)
		if status != http.StatusSwitchingProtocols {
			s.figures.duration.Observe(took.Seconds(), route, method)
		}
		level := slog.LevelDebug
		if method == http.MethodPost {
			level = slog.LevelInfo
		}
		s.deps.Log.LogAttrs(c.Request().Context(), level, "request",
			slog.String("method", method), slog.String("route", route), slog.Int("status", status),
			slog.Duration("duration", took), slog.String("job_id", jobID(c)), slog.String("key", callerOf(c).name()), slog.Int64("bytes", c.Response().Size))
		return nil
	}
}

// trace begins the span of a request to the API. Pages and strangers' guesses have
// none.
func (s *Server) trace(c echo.Context) *telemetry.Span {
	r, route := c.Request(), route(c)
	if s.deps.Traces == nil || !strings.HasPrefix(route, pathBatch) {
		return nil
	}
	ctx, span := s.deps.Traces.Request(r.Context(), method(r), route, r.Header.Values("Traceparent"))
	c.SetRequest(r.WithContext(ctx))
	return span
}

// guard turns a panic into an error, so that one request ends and not the
// process with all others.
func (s *Server) guard(next echo.HandlerFunc, c echo.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.deps.Log.ErrorContext(c.Request().Context(), "panic in a request",
				"route", route(c), "panic", bounded(fmt.Sprint(p)), "stack", string(debug.Stack()))
			err = refuse(http.StatusInternalServerError, "Internal server error")
		}
	}()
	secure(c.Response().Header())
	preflight := s.share(c)
	if err := cmp.Or(checkRoom(c), s.checkStranger(c)); err != nil {
		s.turnAway(c, err)
		return nil
	}
	if err := s.finishBody(c); err != nil {
		return err
	}
	if preflight {
		c.Response().WriteHeader(http.StatusNoContent)
		return nil
	}
	return next(c)
}

// route is the matched path, or "other".
func route(c echo.Context) string {
	switch p := c.Path(); p {
	case pathBatch, pathJob, pathCancel, pathRetry, pathSocket, pathFile, pathThumbnail, pathMetadata, pathSidecar:
		return p
	default:
		if _, ok := pages[p]; ok {
			return p
		}
		return "other"
	}
}

// method is the request's method, if it is one that is known.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	default:
		return "other"
	}
}

// created is where create leaves the id of its job for the log.
const created = "job_id"

func jobID(c echo.Context) string {
	if id, ok := c.Get(created).(string); ok {
		return id
	}
	return bounded(c.Param("job_id"))
}

// bounded cuts what came from outside to what a log line or an answer may hold.
func bounded(s string) string {
	const most = 256
	if len(s) > most {
		s = s[:most]
		for len(s) > 0 {
			if r, size := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || size != 1 {
				break
			}
			s = s[:len(s)-1]
		}
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
