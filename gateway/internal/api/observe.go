package api

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/proxy"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

type apiMetrics struct {
	requests *telemetry.Counter
	duration *telemetry.Histogram
	sockets  *telemetry.Gauge
	closes   *telemetry.Counter
	streams  *telemetry.Gauge
	ends     *telemetry.Counter // of streams
	in, out  *telemetry.Counter
	refused  *telemetry.Counter

	idleClosed *telemetry.Counter
}

func newAPIMetrics(m *telemetry.Registry) apiMetrics {
	return apiMetrics{
		requests: m.Counter("http_requests_total", "HTTP requests, by route, method and status.", "route", "method", "status"),
		duration: m.Histogram("http_request_duration_seconds", "Duration of an HTTP request, without WebSockets, event streams and waiting for a change, by route and method.",
			[]float64{.001, .005, .025, .1, .5, 2.5, 10, 60, 600}, "route", "method"),
		sockets: m.Gauge("websockets", "Open WebSockets."),
		closes:  m.Counter("websockets_closed_total", "Closed WebSockets, by cause. slow: the client did not read a frame in time; silent: the client sent nothing for WS_IDLE_TIMEOUT.", "why").From0("slow", "silent"),
		streams: m.Gauge("event_streams", "Open streams of server-sent events."),
		ends:    m.Counter("event_streams_closed_total", "Closed streams of server-sent events, by cause. slow: the client did not read an event in time.", "why").From0("slow"),
		in:      m.Counter("http_request_bytes_total", "Bytes of request bodies with a Content-Length, by route.", "route"),
		out:     m.Counter("http_response_bytes_total", "Bytes of response bodies, without WebSockets and event streams, by route.", "route"),
		refused: m.Counter("connections_refused_total", "Connections above MAX_CONNECTIONS, by how they were rejected.", "how"),

		idleClosed: m.Counter("connections_idle_closed_total", "Idle connections that were closed to accept others within MAX_CONNECTIONS."),
	}
}

// observe responds to errors, counts and logs every request, and traces the requests to
// the API.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start, r := time.Now(), c.Request()
		d := &details{Route: s.routeOf(c), by: anyone, jobID: jobIDOf(c), from: s.from(r), base: s.config.BasePath}
		c.Set(detailsKey, d)
		method := r.Method
		if !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method) {
			method = other
		}
		var span *telemetry.Span
		if s.deps.Traces != nil && strings.HasPrefix(d.Label, pathBatch) {
			ctx, started := s.deps.Traces.Request(r.Context(), method, d.Label, r.Header.Values("Traceparent"))
			c.SetRequest(r.WithContext(ctx))
			span = started
		}
		defer span.End()
		if err := next(c); err != nil {
			s.fail(err, c)
		}
		took, status := time.Since(start), c.Response().Status
		span.Responded(status)
		span.SetString("job_id", d.jobID)
		s.metrics.requests.Inc(d.Label, method, strconv.Itoa(status))
		s.metrics.in.Add(float64(max(0, r.ContentLength)), d.Label)
		s.metrics.out.Add(float64(max(0, c.Response().Size)), d.Label)
		if status != http.StatusSwitchingProtocols {
			s.metrics.duration.Observe((took - d.waited).Seconds(), d.Label, method)
		}
		level := slog.LevelDebug
		if method == http.MethodPost {
			level = slog.LevelInfo
		}
		s.deps.Log.LogAttrs(c.Request().Context(), level, "request",
			slog.String("method", method), slog.String("route", d.Label), slog.Int("status", status),
			slog.Duration("duration", took), slog.String("job_id", d.jobID), slog.String("key", d.by.Name), slog.Int64("bytes", c.Response().Size),
			slog.String("client", d.client()))
		return nil
	}
}

// from returns what the peer and the trusted proxies report about a request.
func (s *Server) from(r *http.Request) proxy.Request {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr) // without an address, it is no trusted proxy
	from := s.config.TrustedProxies.Read(peer.Addr(), r.Header)
	from.Host = cmp.Or(from.Host, r.Host)
	return from
}

// panicked logs a panic, which ends its request but not the process.
func (s *Server) panicked(c echo.Context, err error, stack []byte) error {
	s.deps.Log.ErrorContext(c.Request().Context(), "panic in a request",
		"route", detailsOf(c).Label, "panic", bounded(err.Error()), "stack", string(stack))
	return errInternal
}

// bounded shortens external text to the maximum length for a log line or a response,
// without splitting a character.
func bounded(s string) string {
	if most := 256; len(s) > most {
		for most > 0 && !utf8.RuneStart(s[most]) {
			most--
		}
		s = s[:most]
	}
	return strings.ToValidUTF8(s, "\ufffd")
}
