package api

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/console"
	"github.com/imagebatch/imagebatch/gateway/internal/openapi"
)

// page returns the handler of one file of the console. A browser keeps the file and compares its
// ETag before each use, so that a new release is seen immediately. A file that has a digest in its
// name never changes: the browser keeps it without comparing. Each coding has an ETag of its
// own, because the bytes differ (RFC 9110, section 8.8.3.3).
func page(name string) echo.HandlerFunc {
	return func(c echo.Context) error {
		f, h := console.Files()[name], c.Response().Header()
		h.Set("Content-Security-Policy", console.Policy)
		h.Set("Cache-Control", "no-cache")
		if f.Digested {
			h.Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		h.Add("Vary", "Accept-Encoding")
		data, tag := f.Data, f.ETag
		zipped := acceptsGzip(c.Request().Header)
		if zipped {
			data, tag = f.Gzip, tag+"-gzip"
		}
		h.Set("ETag", quoted(tag))
		if lists(c.Request().Header["If-None-Match"], tag, true) {
			return c.NoContent(http.StatusNotModified)
		}
		if zipped {
			h.Set("Content-Encoding", "gzip")
		}
		h.Set("Content-Length", strconv.Itoa(len(data)))
		return c.Blob(http.StatusOK, f.ContentType, data)
	}
}

// acceptsGzip reports whether Accept-Encoding lists gzip, or everything, with a weight above 0.
func acceptsGzip(h http.Header) bool {
	accepted, named := false, false
	for _, line := range h.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(line, ",") {
			coding, parameters, _ := strings.Cut(item, ";")
			coding = strings.ToLower(strings.TrimSpace(coding))
			weight, found := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(parameters), " ", ""), "q=")
			q, err := strconv.ParseFloat(weight, 64)
			positive := !found || err == nil && q > 0
			if coding == "gzip" || coding == "x-gzip" {
				accepted, named = positive, true
			} else if coding == "*" && !named {
				accepted = positive
			}
		}
	}
	return accepted
}

// docsStyle responds with the style sheet of the page at /docs.
func (s *Server) docsStyle() echo.HandlerFunc {
	return s.description("text/css; charset=utf-8", func(*openapi.Description) []byte { return openapi.Style })
}

// toPage redirects the base path to the page. The page needs the slash at its end, because
// its links are relative. The redirect is temporary: a browser would remember a permanent
// one after the base path has changed.
func (s *Server) toPage(c echo.Context) error {
	return c.Redirect(http.StatusTemporaryRedirect, s.config.BasePath+"/")
}
