package api

import (
	"time"

	"github.com/labstack/echo/v4"
)

// Impatient makes c give up a request's body sooner.
func Impatient(c Config, slowest int64, grace time.Duration) Config {
	c.pace = pace{slowest, grace}
	return c
}

// Spare makes c turn away so many connections at once.
func Spare(c Config, n int) Config {
	c.spare = n
	return c
}

// Table returns the table of routes.
func (s *Server) Table() []Route { return s.table }

// Routes returns the routes that Echo serves.
func (s *Server) Routes() []*echo.Route { return s.echo.Routes() }

// Window is what a request takes beside the image in hand.
const Window = window

// UploadMemory is how much of the memory for uploads a name has.
func (s *Server) UploadMemory(name string) int64 {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	return s.uploads.of[name]
}
