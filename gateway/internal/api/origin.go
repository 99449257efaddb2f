package api

import (
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/origin"
)

// A browser sends requests for a page from inside its user's network. The server rejects
// two kinds of foreign pages: a page that sends requests across origins, by its Origin,
// which browsers always set on requests that change something; and a page whose name
// resolves to this address ("DNS rebinding"), by the name in Host, if the operator lists
// the allowed names. (net/http has CrossOriginProtection for the first kind; our rule
// also covers WebSockets.)

// checkHost rejects requests to a host name that is not allowed.
func (s *Server) checkHost(c echo.Context) error {
	host := detailsOf(c).from.Host
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if detailsOf(c).Access&Probe != 0 || len(s.config.AllowedHosts) == 0 || slices.ContainsFunc(s.config.AllowedHosts, func(allowed string) bool {
		return strings.EqualFold(allowed, host) || strings.EqualFold(strings.Trim(allowed, "[]"), strings.Trim(name, "[]"))
	}) {
		return nil
	}
	return errHost
}

// checkOrigin rejects requests that a foreign page may not send: requests that may change
// something, and the handshake of a WebSocket. Programs send no Origin; browsers always
// send it with these requests.
func (s *Server) checkOrigin(c echo.Context) error {
	r := c.Request()
	origins := r.Header.Values("Origin")
	reads := (r.Method == http.MethodGet || r.Method == http.MethodHead) && detailsOf(c).Access&Socket == 0
	if len(origins) == 0 || reads || r.Method == http.MethodOptions {
		return nil
	}
	from := detailsOf(c).from
	if len(origins) == 1 && (origin.Own(origins[0], from.Host, from.Secure) || s.config.AllowedOrigins.Allows(origins[0])) {
		return nil
	}
	return errOrigin
}

// The headers that a page of another origin may send, and those of a response that it may
// read, in addition to the ones that browsers always allow. A page gets a preflight
// rejected if it sends any other, so they include those that libraries add by themselves.
const (
	allowedHeaders = "Authorization, Content-Type, Content-Encoding, " + idempotencyKey +
		", If-None-Match, If-Range, Range, Prefer, Last-Event-ID, traceparent"
	exposedHeaders = "Location, Retry-After, Content-Disposition, RateLimit, RateLimit-Policy, WWW-Authenticate, " +
		"ETag, Content-Range, Accept-Ranges, Preference-Applied"
)

// allowOrigin lets the pages of allowed origins read the response (CORS), and reports
// whether the request is their preflight. Cookies have no effect here, so it sends
// neither a credentials header nor "*".
func (s *Server) allowOrigin(c echo.Context) (preflight bool) {
	r, h := c.Request(), c.Response().Header()
	if len(s.config.AllowedOrigins) == 0 {
		return false
	}
	h.Add("Vary", "Origin") // a cache must not return the response of one origin to another
	origins := r.Header.Values("Origin")
	if len(origins) != 1 || !s.config.AllowedOrigins.Allows(origins[0]) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origins[0])
	h.Set("Access-Control-Expose-Headers", exposedHeaders)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE")
	h.Set("Access-Control-Allow-Headers", allowedHeaders)
	h.Set("Access-Control-Max-Age", "600")
	return true
}

// plainPolicy allows nothing. Every response except the page has it.
const plainPolicy = "default-src 'none'; frame-ancestors 'none'"

// secure sets the headers that keep browsers from interpreting a response. The page and
// the results replace the policy.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", plainPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}
