package api

import (
	"time"

	"github.com/labstack/echo/v4"
)

// Impatient makes c give up a request's body sooner.
func Impatient(c Config, slowest int64, patience time.Duration) Config {
	c.pace = pace{slowest, patience}
	return c
}

// Spare makes c turn away so many connections at once.
func Spare(c Config, n int) Config {
	c.spare = n
	return c
}

// Routes are all that the server answers.
func (s *Server) Routes() []*echo.Route { return s.echo.Routes() }

// Uploads is how many uploads of a name are in hand.
func (s *Server) Uploads(name string) (n int) {
	s.quotas.with(name, func(u *usage) { n = u.uploads })
	return n
}
