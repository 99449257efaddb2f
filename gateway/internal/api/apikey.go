package api

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/keyring"
)

// socketProtocol is what a WebSocket speaks, and with bearerProtocol before it the
// place for the key of a web page, which can set no other header of a handshake.
const (
	socketProtocol = "imagebatch"
	bearerProtocol = socketProtocol + ".bearer."
)

// Answers about API keys. They don't tell a key that was removed from one that
// never was.
var (
	errKeyMissing = unauthorized("API key required", `Bearer realm="imagebatch"`)
	errKeyUnknown = unauthorized("API key unknown", `Bearer realm="imagebatch", error="invalid_token"`)
)

func unauthorized(text, challenge string) *refusal {
	return &refusal{status: http.StatusUnauthorized, text: text, header: http.Header{"Www-Authenticate": {challenge}}}
}

// caller is who a request comes from. The zero caller is anybody, where there are
// no keys.
type caller struct{ key *keyring.Key }

const callerValue = "caller" // where identify leaves it

func callerOf(c echo.Context) caller {
	by, _ := c.Get(callerValue).(caller)
	return by
}

// name owns what the caller makes.
func (by caller) name() string {
	if by.key == nil {
		return ""
	}
	return by.key.Name
}

func (by caller) limits() keyring.Limits {
	if by.key == nil {
		return keyring.Limits{}
	}
	return by.key.Limits
}

// viewer says which jobs there are for the caller.
func (by caller) viewer() job.Viewer {
	if by.key == nil || by.key.Operator {
		return job.Everybody
	}
	return job.Viewer{Owner: by.key.Name}
}

// removed is closed when the caller's key is no longer good.
func (by caller) removed() <-chan struct{} {
	if by.key == nil {
		return nil
	}
	return by.key.Removed()
}

// public reports whether a route is answered without a key: the page, which has
// nothing of anybody, and the question whether the process is alive. What is not
// named here needs one.
func public(path string) bool {
	_, ok := pages[path]
	return ok || path == "/healthz"
}

// identify finds out who a request comes from.
func (s *Server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if s.deps.Keys == nil || public(c.Path()) {
			return next(c)
		}
		given, ok := givenKey(c)
		if !ok {
			return s.decline(c, errKeyMissing)
		}
		key := s.deps.Keys.Find(given)
		if key == nil {
			return s.decline(c, errKeyUnknown)
		}
		c.Set(callerValue, caller{key})
		return next(c)
	}
}

// givenKey is the key that a request brings in its header (RFC 6750, section 2.1).
// The URL, which stands in histories and logs, is not looked at.
func givenKey(c echo.Context) (string, bool) {
	h := c.Request().Header
	if values := h.Values("Authorization"); len(values) > 0 {
		scheme, key, _ := strings.Cut(values[0], " ")
		key = strings.TrimSpace(key)
		return key, len(values) == 1 && strings.EqualFold(scheme, "Bearer") && key != ""
	}
	if c.Path() == pathSocket {
		for _, v := range h.Values("Sec-WebSocket-Protocol") {
			for p := range strings.SplitSeq(v, ",") {
				if key, ok := strings.CutPrefix(strings.TrimSpace(p), bearerProtocol); ok {
					return key, key != ""
				}
			}
		}
	}
	return "", false
}

// decline refuses what a caller may not do. The body of a batch has not been read
// yet, that of anything else has.
func (s *Server) decline(c echo.Context, err error) error {
	if !isUpload(c) {
		return err
	}
	s.turnAway(c, err)
	return nil
}

// isUpload reports whether the request brings a batch.
func isUpload(c echo.Context) bool {
	return c.Request().Method == http.MethodPost && c.Path() == pathBatch
}
