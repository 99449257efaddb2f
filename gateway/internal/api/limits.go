package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/shared/imagefile"
)

// Captions says which vision model sees the images, where, and how large.
type Captions struct {
	Model, Host string
	Pixels      int // long side of the image that the model gets
}

// showLimits responds with the limits of a batch. They are not secret: a client reads them
// before it has a key.
func (s *Server) showLimits(c echo.Context) error {
	shape := limitsJSON{MaxImages: s.config.MaxBatchImages, MaxImageBytes: s.config.MaxImageBytes, Keys: s.deps.Keys != nil}
	if m := s.config.Captions; m != nil {
		shape.Captions = &captionsJSON{m.Model, m.Host, m.Pixels}
	}
	for _, format := range imagefile.Formats() {
		shape.Formats = append(shape.Formats, format.Name)
	}
	return writeJSON(c, http.StatusOK, shape)
}

// showKey responds with what the caller's API key may do. Without API keys, every caller may do
// everything.
func (s *Server) showKey(c echo.Context) error {
	by := detailsOf(c).by
	return writeJSON(c, http.StatusOK, keyJSON{Name: by.Name, Operator: by.Operator, Captions: !by.CaptionsOff})
}
