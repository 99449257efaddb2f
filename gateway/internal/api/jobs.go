package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// find returns the job that the path names. A job that the caller may not see does
// not exist for it.
func (s *Server) find(c echo.Context) (*job.Job, error) {
	return s.findJob(c.Request().Context(), detailsOf(c).by, detailsOf(c).jobID)
}

// findJob returns a job that the caller may see.
func (s *Server) findJob(ctx context.Context, by *apikey.Key, id string) (*job.Job, error) {
	if !isUUID(id) {
		return nil, job.ErrNotFound
	}
	j, err := s.deps.Jobs.Get(ctx, id)
	if err == nil && !viewerOf(by).Sees(j) {
		return nil, job.ErrNotFound
	}
	return j, err
}

// isUUID reports whether s is a UUID as the server writes it.
func isUUID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}

// status responds with one job, or with 304 to a client that has it already. A client may
// ask to wait until the job has changed.
func (s *Server) status(c echo.Context) error {
	j, err := s.find(c)
	if err != nil {
		return err
	}
	r, applied := c.Request(), ""
	if wait := preferredWait(r.Header); wait > 0 && !j.Status.Ended() && namesTag(r.Header, s.jobTag(j)) {
		if err := s.awaitChange(c, j.Revision, wait); err != nil {
			return err
		}
		if j, err = s.find(c); err != nil {
			return err
		}
		applied = fmt.Sprintf("wait=%.0f", wait.Seconds())
	}
	tag, h := s.jobTag(j), c.Response().Header()
	h.Set("ETag", tag)
	h.Add("Vary", "Prefer")
	if applied != "" {
		h.Set("Preference-Applied", applied)
	}
	if namesTag(r.Header, tag) {
		h.Set("Cache-Control", revalidate)
		return c.NoContent(http.StatusNotModified)
	}
	return writeCached(c, http.StatusOK, jobShape(j), revalidate)
}

// cancel ends a job with all its open images.
func (s *Server) cancel(c echo.Context) error {
	j, err := s.find(c)
	if err != nil {
		return err
	}
	j, changed, err := s.deps.Intake.Cancel(c.Request().Context(), j.ID)
	if err != nil {
		return err
	}
	if !changed {
		return errEnded.with(j.Status)
	}
	return writeJSON(c, http.StatusOK, jobShape(j))
}
