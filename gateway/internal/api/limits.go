package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// showLimits responds with the limits of a batch. They are not secret: a client reads them
// before it has a key.
func (s *Server) showLimits(c echo.Context) error {
	shape := limitsJSON{MaxImages: s.config.MaxBatchImages, MaxImageBytes: s.config.MaxImageBytes, Keys: s.deps.Keys != nil}
	for _, format := range imagefile.Formats() {
		shape.Formats = append(shape.Formats, format.Name)
	}
	return writeJSON(c, http.StatusOK, shape)
}
