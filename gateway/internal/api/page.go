package api

import (
	"embed"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

//go:embed page
var pageFiles embed.FS

const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// page returns the handler of one file of the demo page. The page needs no other files,
// and its policy allows no others. All its links are relative, so that it works below any
// path.
func page(file, contentType string) echo.HandlerFunc {
	return func(c echo.Context) error {
		data, err := pageFiles.ReadFile("page/" + file)
		if err != nil {
			return err
		}
		h := c.Response().Header()
		h.Set("Content-Length", strconv.Itoa(len(data)))
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Cache-Control", "no-cache")
		return c.Blob(http.StatusOK, contentType+"; charset=utf-8", data)
	}
}

// toPage redirects the base path to the page. The page needs the slash at its end, because
// its links are relative. The redirect is temporary: a browser would remember a permanent
// one after the base path has changed.
func (s *Server) toPage(c echo.Context) error {
	return c.Redirect(http.StatusTemporaryRedirect, s.config.BasePath+"/")
}
