package api

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/openapi"
)

const pathDescription = "/api/v1/openapi"

// description returns the handler of one form of the API's description. It is built on the
// first request, and clients may keep it until its ETag changes.
func (s *Server) description(contentType string, form func(*openapi.Description) []byte) echo.HandlerFunc {
	return func(c echo.Context) error {
		d, err := s.described()
		if err != nil {
			return err
		}
		data, h := form(d), c.Response().Header()
		sum := sha256.Sum256(data)
		tag := fmt.Sprintf("%x", sum[:8])
		h.Set("ETag", quoted(tag))
		h.Set("Cache-Control", "no-cache")
		if lists(c.Request().Header["If-None-Match"], tag, true) {
			return c.NoContent(http.StatusNotModified)
		}
		h.Set("Content-Length", strconv.Itoa(len(data)))
		return c.Blob(http.StatusOK, contentType, data)
	}
}

// docsPolicy allows the page at /docs its style sheet. The page has no script.
const docsPolicy = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// docsPage responds with the page that shows the description. Like the console, it needs no
// files of others.
func (s *Server) docsPage() echo.HandlerFunc {
	docs := s.description("text/html; charset=utf-8", func(d *openapi.Description) []byte { return d.Page })
	return func(c echo.Context) error {
		c.Response().Header().Set("Content-Security-Policy", docsPolicy)
		return docs(c)
	}
}
