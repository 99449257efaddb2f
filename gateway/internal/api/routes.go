package api

import (
	"cmp"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/console"
	"github.com/imagebatch/imagebatch/gateway/internal/openapi"
	"github.com/imagebatch/imagebatch/gateway/internal/proxy"
)

const (
	pathBatch       = "/api/v1/batch"
	pathLimits      = "/api/v1/limits"
	pathCounts      = "/api/v1/counts"
	pathKey         = "/api/v1/key"
	pathSystem      = "/api/v1/system"
	pathDownloads   = "/api/v1/downloads"
	pathDeadLetters = "/api/v1/dead-letters"
	pathHooks       = "/api/v1/webhooks"
)

// Route is one row of the table of routes. Authentication, quotas, metrics, and the 405
// response with its Allow header follow from the row.
type Route struct {
	Method  string // GET responds to HEAD as well; empty: any method
	Path    string // with Echo's parameters, and below the base path
	Handler echo.HandlerFunc
	Access  Access
	Body    Body
	Label   string // route in metrics and logs; empty in the table: the path without the base path
}

// Access is a set of exceptions. A route without exceptions requires an API key, if there
// are keys, and is served only under the allowed host names.
type Access int

// The exceptions.
const (
	Keyed    Access = 0         // no exception
	Public   Access = 1 << iota // needs no key: the route shows no data of a client, or authorizes the request itself
	Probe                       // served under any host name, and on connections past the limit
	Socket                      // a WebSocket: its subprotocol may carry the key, and no foreign page may open it
	Operator                    // the key must be an operator's
)

// Body is the kind of a request's body, which determines its cost.
type Body int

// The bodies.
const (
	NoBody        Body = iota // dropped, up to 64 KiB, before the handler runs
	BatchBody                 // read by the handler, and counted against the upload quota
	CopiesBatch               // no body, but the handler copies a batch: rejected past the upload quota
	SelectionBody             // up to 64 KiB, read by the handler, which copies a batch: rejected past the upload quota
	SmallBody                 // read by the handler, up to smallBody, and not counted
)

// smallBody is the maximum number of bytes of a body that is not a batch.
const smallBody = 64 << 10

// other is the label of requests outside the API and the page.
const other = "other"

// routes returns the table. The base path does not apply to /healthz, /readyz and
// /metrics: an orchestrator sends them to the gateway itself, and no proxy needs to
// publish them.
func (s *Server) routes() []Route {
	const get, post, del, every = http.MethodGet, http.MethodPost, http.MethodDelete, ""
	const aJob, anImage = pathBatch + "/:job_id", pathBatch + "/:job_id/images/:index"
	const aHook = pathHooks + "/:webhook_id"
	const aDeadLetter = pathDeadLetters + "/:queue/:trace_id"
	table := []Route{
		{post, pathBatch, s.create, Keyed, BatchBody, ""},
		{get, pathBatch, s.list, Keyed, NoBody, ""},
		{get, aJob, s.status, Keyed, NoBody, ""},
		{post, aJob + "/cancel", s.cancel, Keyed, NoBody, ""},
		{post, aJob + "/retry", s.retry, Keyed, CopiesBatch, ""},
		{post, aJob + "/reprocess", s.reprocess, Keyed, SelectionBody, ""},
		{get, aJob + "/results.jsonl", s.lines, Keyed, NoBody, ""},
		{get, aJob + "/results.zip", s.archive, Keyed, NoBody, ""},
		{get, aJob + "/similar", s.similar, Keyed, NoBody, ""},
		{get, aJob + "/events", s.events, Keyed, NoBody, ""},
		{get, aJob + "/ws", s.watch, Socket, NoBody, ""},
		{post, aJob + "/download", s.createDownload, Keyed, SmallBody, ""},
		{get, pathDownloads + "/:token", s.useDownload, Public, NoBody, ""},
		{get, anImage + "/file", s.result(file), Keyed, NoBody, ""},
		{get, anImage + "/thumbnail", s.result(thumbnail), Keyed, NoBody, ""},
		{get, anImage + "/metadata", s.result(record), Keyed, NoBody, ""},
		{get, anImage + "/xmp", s.result(sidecar), Keyed, NoBody, ""},
		{get, anImage + "/original", s.result(original), Keyed, NoBody, ""},
		{post, pathHooks, s.createWebhook, Keyed, SmallBody, ""},
		{get, pathHooks, s.listWebhooks, Keyed, NoBody, ""},
		{get, aHook, s.showWebhook, Keyed, NoBody, ""},
		{del, aHook, s.deleteWebhook, Keyed, NoBody, ""},
		{post, aHook + "/test", s.testWebhook, Keyed, NoBody, ""},
		{post, aHook + "/rotate", s.rotateWebhook, Keyed, NoBody, ""},
		{get, aHook + "/deliveries", s.listDeliveries, Keyed, NoBody, ""},
		{get, pathLimits, s.showLimits, Public, NoBody, ""},
		{get, pathKey, s.showKey, Keyed, NoBody, ""},
		{get, pathCounts, s.showCounts, Keyed, NoBody, ""},
		{get, pathSystem, s.showSystem, Operator, NoBody, ""},
		{get, pathDeadLetters, s.listDeadLetters, Operator, NoBody, ""},
		{post, aDeadLetter + "/replay", s.replayDeadLetters, Operator, CopiesBatch, ""},
		{del, aDeadLetter, s.dropDeadLetters, Operator, NoBody, ""},
		{get, pathDescription + ".yaml", s.description("application/yaml", func(d *openapi.Description) []byte { return d.YAML }), Public, NoBody, ""},
		{get, pathDescription + ".json", s.description("application/json", func(d *openapi.Description) []byte { return d.JSON }), Public, NoBody, ""},
		{get, pathSchema, recordSchema(), Public, NoBody, ""},
		{get, "/docs", s.docsPage(), Public, NoBody, ""},
		{get, "/docs.css", s.docsStyle(), Public, NoBody, ""},
	}
	for _, name := range slices.Sorted(maps.Keys(console.Files())) {
		row := Route{get, "/" + name, page(name), Public, NoBody, ""}
		if name == "index.html" {
			row.Path = "/"
		}
		if console.Files()[name].Digested {
			row.Label = other // each release has other names
		}
		table = append(table, row)
	}
	for i := range table {
		table[i].Label = cmp.Or(table[i].Label, table[i].Path)
		table[i].Path = s.config.BasePath + table[i].Path
	}
	if s.config.BasePath != "" {
		table = append(table, Route{get, s.config.BasePath, s.toPage, Public, NoBody, other})
	}
	if s.deps.Ops != nil {
		ops := echo.WrapHandler(s.deps.Ops)
		table = append(table,
			Route{every, "/healthz", ops, Public | Probe, NoBody, other},
			Route{every, "/readyz", ops, Probe, NoBody, other},
			Route{every, "/metrics", ops, Probe, NoBody, other},
		)
	}
	return table
}

// router returns the Echo instance with the routes of the table. Of Echo's middleware,
// only Recover fits the API: Echo's CORS responds to every OPTIONS request before access
// and body are checked, and its rate limiter, body limit and request log know no API keys.
func (s *Server) router() *echo.Echo {
	e := echo.New()
	e.Logger.SetOutput(io.Discard)
	e.HTTPErrorHandler = s.fail
	e.Use(s.observe, middleware.RecoverWithConfig(middleware.RecoverConfig{DisableStackAll: true, DisableErrorHandler: true, LogErrorFunc: s.panicked}), s.admit)
	for _, r := range s.table {
		switch r.Method {
		case "":
			e.Any(r.Path, r.Handler)
		case http.MethodGet:
			e.Match([]string{http.MethodGet, http.MethodHead}, r.Path, r.Handler)
		default:
			e.Add(r.Method, r.Path, r.Handler)
		}
	}
	return e
}

// details is what the server determines about a request before its handler runs.
type details struct {
	Route
	by     *apikey.Key
	jobID  string        // job that the request names, in lower case, or has created
	from   proxy.Request // the client, and how it addressed the server
	base   string        // prefix of the server's paths
	waited time.Duration // time for which the request waited for a change, as the client preferred
}

// client returns the address of the client, or nothing if it is unknown.
func (d *details) client() string {
	if !d.from.Client.IsValid() {
		return ""
	}
	return d.from.Client.String()
}

// jobIDOf returns the job that the path names. A UUID is the same in upper and in lower
// case (RFC 9562, section 4); the server writes and stores it in lower case.
func jobIDOf(c echo.Context) string { return bounded(strings.ToLower(c.Param("job_id"))) }

const detailsKey = "details"

func detailsOf(c echo.Context) *details { return c.Get(detailsKey).(*details) } //nolint:forcetypeassert // observe sets it

// routeOf returns the row of a request. If the table has the path but not the method, it
// returns the row of the path without a body.
func (s *Server) routeOf(c echo.Context) Route {
	method := c.Request().Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	found := Route{Label: other}
	for _, row := range s.table {
		if row.Path == c.Path() {
			found = row
			if row.Method == "" || row.Method == method {
				return row
			}
		}
	}
	found.Body = NoBody
	return found
}

// admit checks everything that the table of routes requires before the handler runs. The
// body of a rejected request is not read.
func (s *Server) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		secure(c.Response().Header())
		preflight := s.allowOrigin(c)
		checks := []func(echo.Context) error{s.checkRoom, s.checkHost, s.checkOrigin}
		if !preflight {
			checks = append(checks, s.authenticate, s.checkQuota, s.checkOperator)
		}
		for _, check := range checks {
			if err := check(c); err != nil {
				s.turnAway(c, err)
				return nil
			}
		}
		if err := s.dropBody(c); err != nil {
			return err
		}
		if preflight {
			return c.NoContent(http.StatusNoContent)
		}
		return next(c)
	}
}
