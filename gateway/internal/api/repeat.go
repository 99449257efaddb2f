package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// retry creates a job from the failed images of another.
func (s *Server) retry(c echo.Context) error { return s.repeat(c, retryOf(detailsOf(c).jobID)) }

func retryOf(id string) repetition {
	return repetition{
		request: "retry " + id,
		nothing: errNothingToRetry,
		choose: func(j *job.Job) (images []int, _ error) {
			for i := range j.Images {
				if j.Images[i].Status == job.Failed {
					images = append(images, i)
				}
			}
			return images, nil
		},
	}
}

// reprocess creates a job from the images of another that the body selects, or from all of
// them, whatever became of them.
func (s *Server) reprocess(c echo.Context) error {
	respondEarly(c)
	in := s.newRequestBody(c, smallBody)
	selected, fingerprint, err := s.readSelection(c, in)
	if err != nil {
		s.breakOff(c, in, err)
		return nil
	}
	return s.repeat(c, repetition{
		request: "reprocess " + detailsOf(c).jobID + " " + fingerprint,
		nothing: errNothingToRepeat, captions: selected.Captions, remove: selected.RemoveCaptions,
		choose: func(j *job.Job) ([]int, error) {
			for i, index := range selected.Images {
				if index >= len(j.Images) {
					return nil, errNoIndex.with(i, len(j.Images)-1)
				}
			}
			if selected.Images != nil {
				return selected.Images, nil
			}
			images := make([]int, len(j.Images))
			for i := range images {
				images[i] = i
			}
			return images, nil
		},
	})
}

// readSelection returns what the body selects, and its fingerprint.
func (s *Server) readSelection(c echo.Context, in *requestBody) (selected body.Selection, fingerprint string, err error) {
	encoded, err := codingOf(c.Request())
	if err != nil {
		return selected, "", err
	}
	memory, err := s.uploads.hold(detailsOf(c).by, window)
	if err != nil {
		return selected, "", err
	}
	defer memory.release()
	text := newBatchBody(in, encoded, smallBody, memory, true)
	selected, err = body.ReadSelection(text, s.config.MaxBatchImages)
	return selected, text.fingerprint(), errors.Join(err, text.Close())
}

// repetition is a request for a job from the images of another.
type repetition struct {
	request string                        // distinguishes the request from others under one Idempotency-Key
	nothing *refusal                      // the response if no chosen image can be read
	choose  func(*job.Job) ([]int, error) // returns the indexes of the images

	captions *bool // whether a vision model may see the images; nil: as in the job
	remove   *bool // whether a model's words get into no result; nil: as in the job, unless a model may see the images
}

// repeat creates a job from images of the job that the path names.
func (s *Server) repeat(c echo.Context, r repetition) error {
	key, err := keyOf(detailsOf(c).by, c.Request())
	if err != nil {
		return err
	}
	j, err := s.repeated(c.Request().Context(), detailsOf(c).by, key, detailsOf(c).jobID, r)
	if err != nil {
		return err
	}
	return writeCreated(c, j)
}

// repeated returns the new job, or the one that an earlier request with this key has created.
func (s *Server) repeated(ctx context.Context, by *apikey.Key, key job.Key, id string, r repetition) (*job.Job, error) {
	// No batch has this fingerprint, because the text is not a valid batch.
	fingerprint := ""
	if key.Name != "" {
		fingerprint = fmt.Sprintf("%x", sha256.Sum256([]byte(r.request)))
	}
	if j, err := s.known(ctx, key, func() (string, error) { return fingerprint, nil }); j != nil || err != nil {
		return j, err
	}
	source, err := s.findJob(ctx, by, id)
	if err != nil {
		return nil, err
	}
	if !source.Status.Ended() {
		return nil, errNotEnded.with(source.Status)
	}
	images, err := r.choose(source)
	if err != nil {
		return nil, err
	}
	if len(images) > s.config.MaxBatchImages { // The limit was higher then.
		return nil, errTooManyImages.with(s.config.MaxBatchImages)
	}
	// intake copies one image at a time, and no client can slow that down.
	room := max(s.config.MaxImageBytes, intake.MaxRecordBytes) + window
	j, err := s.newJob(ctx, by, key, room, func(ctx context.Context, b *intake.Batch, _ *held) error {
		b.Fingerprint, b.Captions, b.RemoveCaptions = fingerprint, captionsFor(by, r.captions), r.remove
		if r.remove == nil && r.captions != nil && *r.captions {
			b.RemoveCaptions = new(bool)
		}
		return b.Repeat(ctx, source, images)
	})
	if errors.Is(err, intake.ErrNothingToRepeat) {
		return nil, r.nothing
	}
	return j, err
}
