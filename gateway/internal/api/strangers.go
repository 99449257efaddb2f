package api

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// A browser sends what a page asks it to, from inside the network that its user is
// in. Two kinds of foreign pages are kept out: one that sends across origins, by its
// Origin, which browsers always tell where something is changed and programs never
// need; and one whose name leads to this address ("DNS rebinding"), for which all
// of this is its own origin, by the name in Host, where the operator says which
// names are his. (net/http has
// CrossOriginProtection for the first kind; ours has one rule for WebSockets as well.)

// operators says whether the path is one of the operator's, which probes ask for
// by an address.
func operators(c echo.Context) bool {
	switch c.Path() {
	case "/healthz", "/readyz", "/metrics":
		return true
	}
	return false
}

// checkStranger refuses what a foreign page sends.
func (s *Server) checkStranger(c echo.Context) error {
	r := c.Request()
	if !operators(c) && !s.isOurs(r.Host) {
		return refuse(http.StatusMisdirectedRequest, "Host not allowed; ALLOWED_HOSTS names those that are")
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions: // They change nothing; a WebSocket is checked on its own.
		return nil
	}
	return s.checkOrigin(r)
}

// isOurs reports whether the host of a request is one of ours, with whatever port.
func (s *Server) isOurs(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	return len(s.config.AllowedHosts) == 0 || slices.ContainsFunc(s.config.AllowedHosts, func(allowed string) bool {
		return strings.EqualFold(allowed, host) || strings.EqualFold(strings.Trim(allowed, "[]"), strings.Trim(name, "[]"))
	})
}

// checkOrigin refuses what a foreign web page asks for. Programs send no Origin;
// browsers always do with a WebSocket, and with whatever is not a GET.
func (s *Server) checkOrigin(r *http.Request) error {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return nil
	}
	if len(origins) == 1 {
		own, err := url.Parse(origins[0])
		if err == nil && own.Host != "" && strings.EqualFold(own.Host, r.Host) || s.allows(origins[0]) {
			return nil
		}
	}
	return refuse(http.StatusForbidden, "Origin not allowed; ALLOWED_ORIGINS names those that are")
}

// allows reports whether the operator lets the pages of an origin in.
func (s *Server) allows(origin string) bool {
	return slices.ContainsFunc(s.config.AllowedOrigins, func(o string) bool { return strings.EqualFold(o, origin) })
}

// share lets the pages of allowed origins read the answer (CORS). No cookie means
// anything here, so credentials are never mentioned, and no "*" either.
func (s *Server) share(c echo.Context) (preflight bool) {
	r, h := c.Request(), c.Response().Header()
	if len(s.config.AllowedOrigins) == 0 {
		return false
	}
	h.Add("Vary", "Origin") // whoever asks, or a cache would give one's answer to another
	origin := r.Header.Get("Origin")
	if origin == "" || !s.allows(origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "Location, Retry-After, Content-Disposition, RateLimit, RateLimit-Policy, WWW-Authenticate")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, "+keyHeader)
	h.Set("Access-Control-Max-Age", "600")
	return true
}

// plainPolicy is what an answer may do that is no page: nothing.
const plainPolicy = "default-src 'none'; frame-ancestors 'none'"

// secure puts on every answer what keeps browsers from taking it for more than it
// is. A page and a result have policies of their own.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", plainPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
}
