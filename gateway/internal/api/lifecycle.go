package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

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
		return refuse(http.StatusConflict, fmt.Sprintf("Job has already ended: %s", j.Status))
	}
	return writeJSON(c, http.StatusOK, jobShape(j))
}

// retry makes a new job of the images of one that failed.
func (s *Server) retry(c echo.Context) error {
	ctx := c.Request().Context()
	key, err := keyOf(callerOf(c), c.Request())
	if err != nil {
		return err
	}
	// A retry has no body, and the job that it is of tells it from another. No batch
	// has this fingerprint, because this text is no batch.
	fingerprint := ""
	if key.Name != "" {
		sum := sha256.Sum256([]byte("retry " + c.Param("job_id")))
		fingerprint = hex.EncodeToString(sum[:])
	}
	j, err := s.known(ctx, key, func() (string, error) { return fingerprint, nil })
	if err != nil {
		return err
	}
	if j == nil {
		if j, err = s.retried(c, key, fingerprint); err != nil {
			return err
		}
	}
	return writeCreated(c, j)
}

// retried makes the new job.
func (s *Server) retried(c echo.Context, key job.Key, fingerprint string) (*job.Job, error) {
	source, err := s.find(c)
	switch {
	case err != nil:
		return nil, err
	case !source.Status.Ended():
		return nil, refuse(http.StatusConflict, fmt.Sprintf("Job has not ended: %s", source.Status))
	case source.Failed > s.config.MaxBatchImages: // The limit was higher then.
		return nil, refuse(http.StatusBadRequest, fmt.Sprintf("Too many images (>%d)", s.config.MaxBatchImages))
	}
	// The largest image at once: the memory of a copy is not this package's to grow,
	// and no client can make it last.
	room := s.config.MaxImageBytes + window
	return s.make(c.Request().Context(), callerOf(c), key, room, func(ctx context.Context, b *intake.Batch, _ *held) error {
		b.Fingerprint = fingerprint
		return b.Retry(ctx, source)
	})
}
