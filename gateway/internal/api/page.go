package api

import (
	"embed"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"
)

//go:embed page
var pageFiles embed.FS

// page is one file of the page that shows people what this is. Everything that it
// needs is here; its policy lets nothing else in.
type page struct{ file, contentType string }

var pages = map[string]page{
	"/":          {"page/index.html", "text/html; charset=utf-8"},
	"/app.js":    {"page/app.js", "text/javascript; charset=utf-8"},
	"/style.css": {"page/style.css", "text/css; charset=utf-8"},
}

const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

func (p page) serve(c echo.Context) error {
	data, err := pageFiles.ReadFile(p.file)
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Content-Type", p.contentType)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-cache")
	c.Response().WriteHeader(http.StatusOK)
	if c.Request().Method == http.MethodHead {
		return nil
	}
	_, err = c.Response().Write(data)
	return err
}
