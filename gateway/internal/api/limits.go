package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// Captions says which vision model sees the images, and where.
type Captions struct{ Model, Host string }

// showLimits responds with the limits of a batch. They are not secret: a client reads them
// before it has a key.
func (s *Server) showLimits(c echo.Context) error {
	shape := limitsJSON{MaxImages: s.config.MaxBatchImages, MaxImageBytes: s.config.MaxImageBytes, Keys: s.deps.Keys != nil}
	if m := s.config.Captions; m != nil {
		shape.Captions = &captionsJSON{m.Model, m.Host}
	}
	for _, format := range imagefile.Formats() {
		shape.Formats = append(shape.Formats, format.Name)
	}
	return writeJSON(c, http.StatusOK, shape)
}
