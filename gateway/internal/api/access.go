package api

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// socketProtocol is the subprotocol of the WebSocket. Behind bearerProtocol a web
// page, which can set no other header of a handshake, sends its key.
const (
	socketProtocol = "imagebatch"
	bearerProtocol = socketProtocol + ".bearer."
)

// anyone is the key of every request if there are no API keys: it has no name and no
// limits, and sees all jobs.
var anyone = &apikey.Key{Operator: true}

// viewerOf returns the viewer that determines which jobs the caller may see.
func viewerOf(by *apikey.Key) job.Viewer {
	if by.Operator {
		return job.Everybody
	}
	return job.Viewer{Owner: by.Name}
}

// authenticate determines the API key of a request.
func (s *Server) authenticate(c echo.Context) error {
	d := detailsOf(c)
	if s.deps.Keys == nil || d.Access&Public != 0 {
		return nil
	}
	given, ok := bearer(c.Request().Header, d.Access&Socket != 0)
	if !ok {
		return errKeyMissing
	}
	key := s.deps.Keys.Find(given)
	if key == nil {
		return errKeyUnknown
	}
	d.by = key
	return nil
}

// checkOperator rejects a key that is not an operator's where one is required. The quota counts
// the request before.
func (s *Server) checkOperator(c echo.Context) error {
	if d := detailsOf(c); d.Access&Operator != 0 && !d.by.Operator {
		return errNotOperator
	}
	return nil
}

// bearer returns the key of a request's header (RFC 6750, section 2.1). It ignores
// the URL, which ends up in histories and logs.
func bearer(h http.Header, socket bool) (string, bool) {
	if values := h.Values("Authorization"); len(values) > 0 {
		scheme, key, _ := strings.Cut(values[0], " ")
		key = strings.TrimSpace(key)
		return key, len(values) == 1 && strings.EqualFold(scheme, "Bearer") && key != ""
	}
	if socket {
		for p := range strings.SplitSeq(strings.Join(h.Values("Sec-WebSocket-Protocol"), ","), ",") {
			if key, ok := strings.CutPrefix(strings.TrimSpace(p), bearerProtocol); ok {
				return key, key != ""
			}
		}
	}
	return "", false
}
