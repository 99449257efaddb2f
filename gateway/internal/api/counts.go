package api

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// maxCounted is the number up to which jobs are counted. A page shows more as "1,000+", and
// costs the same however many there are.
const maxCounted = 1000

// countsJSON is the number of the caller's jobs of each kind.
type countsJSON struct {
	Pending      int `json:"pending"`
	Processing   int `json:"processing"`
	Completed    int `json:"completed"`
	Failed       int `json:"failed"`
	Cancelled    int `json:"cancelled"`
	FailedImages int `json:"failed_images"`
	Uncaptioned  int `json:"uncaptioned"`

	AtLeast []string `json:"at_least"` // the numbers at which counting stopped
}

// showCounts responds with the numbers of the caller's jobs, each counted up to a limit.
func (s *Server) showCounts(c echo.Context) error {
	t, err := s.deps.Jobs.Tally(c.Request().Context(), viewerOf(detailsOf(c).by), s.config.counted)
	if err != nil {
		return err
	}
	shape := countsJSON{AtLeast: []string{}}
	for _, number := range []struct {
		to   *int
		name string
		n    int
	}{
		{&shape.Pending, "pending", t.Statuses[job.Pending]},
		{&shape.Processing, "processing", t.Statuses[job.Processing]},
		{&shape.Completed, "completed", t.Statuses[job.Completed]},
		{&shape.Failed, "failed", t.Statuses[job.Failed]},
		{&shape.Cancelled, "cancelled", t.Statuses[job.Cancelled]},
		{&shape.FailedImages, "failed_images", t.FailedImages},
		{&shape.Uncaptioned, "uncaptioned", t.Uncaptioned},
	} {
		if *number.to = min(number.n, s.config.counted); number.n > s.config.counted {
			shape.AtLeast = append(shape.AtLeast, number.name)
		}
	}
	return writeJSON(c, http.StatusOK, shape)
}
