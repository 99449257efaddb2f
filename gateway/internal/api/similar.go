package api

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// similarJSON is the response with the groups of similar images.
type similarJSON struct {
	Compared int         `json:"compared"` // number of images that could be compared
	Groups   []groupJSON `json:"groups"`
}

type groupJSON struct {
	Kind     string       `json:"kind"` // exact or similar
	Distance int          `json:"distance"`
	Images   []memberJSON `json:"images"`
}

type memberJSON struct {
	Index     int    `json:"index"`
	CustomID  string `json:"custom_id,omitempty"`
	Suggested bool   `json:"suggested"` // the image to keep
}

// similar responds with the groups of similar images of a job.
func (s *Server) similar(c echo.Context) error {
	j, err := s.find(c)
	if err != nil {
		return err
	}
	query, err := parameters(c)
	if err != nil {
		return err
	}
	if err := checkEnded(j, query); err != nil {
		return err
	}
	distance := job.DefaultDistance
	if given, ok := query["distance"]; ok {
		n, err := strconv.Atoi(given[0])
		if err != nil || n < 0 || n > job.MaxDistance {
			return errParameter.with("distance", fmt.Sprintf("a number from 0 to %d", job.MaxDistance))
		}
		if len(given) > 1 {
			return errRepeated.with("distance")
		}
		distance = n
	}
	groups, compared := j.Similar(distance)
	return writeJSON(c, http.StatusOK, similarShape(j, groups, compared))
}

func similarShape(j *job.Job, groups []job.Group, compared int) similarJSON {
	shape := similarJSON{compared, make([]groupJSON, len(groups))}
	for i, g := range groups {
		kind := "similar"
		if g.Exact {
			kind = "exact"
		}
		shape.Groups[i] = groupJSON{kind, g.Distance, make([]memberJSON, len(g.Images))}
		for k, index := range g.Images {
			shape.Groups[i].Images[k] = memberJSON{index, j.Images[index].CustomID, index == g.Suggested}
		}
	}
	return shape
}
