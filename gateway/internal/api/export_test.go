package api

import (
	"time"

	"github.com/labstack/echo/v4"
)

// Impatient sets the minimum speed of a request's body in c.
func Impatient(c Config, slowest int64, grace time.Duration) Config {
	c.pace = pace{slowest, grace}
	return c
}

// Spare sets the number of connections past the limit that get a 503 in c.
func Spare(c Config, n int) Config {
	c.spare = n
	return c
}

// Counted sets the number up to which jobs are counted in c.
func Counted(c Config, n int) Config {
	c.counted = n
	return c
}

// Table returns the table of routes.
func (s *Server) Table() []Route { return s.table }

// Routes returns the routes that Echo serves.
func (s *Server) Routes() []*echo.Route { return s.echo.Routes() }

// SetRelease sets the build that is in the tags of jobs.
func (s *Server) SetRelease(name string) { s.release = name }

// Window is the memory that a request needs in addition to its current image.
const Window = window

// UploadMemory returns the upload memory in use by a name.
func (s *Server) UploadMemory(name string) int64 {
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	return s.uploads.of[name]
}

// ArchiveMemory returns the memory of the downloads of results.zip in use by a name.
func (s *Server) ArchiveMemory(name string) int64 {
	s.zips.mu.Lock()
	defer s.zips.mu.Unlock()
	return s.zips.of[name]
}
