package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// idempotencyKey is the header that identifies a request, so that a client that lost the
// response can send the request again without creating a second job.
const idempotencyKey = "Idempotency-Key"

// batchReader reads a batch. After the last image, its other methods return the rest.
type batchReader interface {
	Next() (intake.Source, error)
	Metadata() map[string]string
	Warnings() []string
	Captions() *bool
}

// create creates a job from a batch.
func (s *Server) create(c echo.Context) error {
	respondEarly(c)
	in := s.newRequestBody(c, s.maxBody)
	j, err := s.receive(c.Request(), detailsOf(c).by, in)
	if err != nil {
		s.breakOff(c, in, err)
		return nil
	}
	return writeCreated(c, j)
}

// receive reads the request and creates a durable job from it. On an error it leaves
// nothing behind. If an earlier request had the same key, receive returns its job.
func (s *Server) receive(r *http.Request, by *apikey.Key, in *requestBody) (*job.Job, error) {
	if r.ContentLength > s.maxBody {
		return nil, errTooLarge.with(s.maxBody)
	}
	encoded, err := codingOf(r)
	if err != nil {
		return nil, err
	}
	if by.Limits.UploadBytesPerMinute > 0 {
		in.charge = func(n int) { s.chargeBytes(by, n) }
	}
	key, err := keyOf(by, r)
	if err != nil {
		return nil, err
	}
	boundary, isForm, err := body.Boundary(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	known, err := s.known(r.Context(), key, func() (string, error) {
		memory, err := s.uploads.hold(by, window)
		if err != nil {
			return "", err
		}
		defer memory.release()
		text := newBatchBody(in, encoded, s.maxBody, memory, !isForm)
		if !isForm {
			err = text.drain()
			return text.fingerprint(), err
		}
		form := body.NewForm(text, boundary, s.limits, true)
		err = errors.Join(form.Drain(), text.Close())
		return form.Fingerprint(), err
	})
	if known != nil || err != nil {
		return known, err
	}
	return s.newJob(r.Context(), by, key, window, func(ctx context.Context, b *intake.Batch, memory *held) error {
		limits := s.limits
		limits.Grow = memory.grow
		b.Ahead(memory.grow)
		hasKey := key.Name != ""
		text := newBatchBody(in, encoded, s.maxBody, memory, hasKey && !isForm)
		defer func() { _ = text.Close() }() // what it read is complete, or Next returned the error
		var request batchReader = body.NewReader(text, limits)
		fingerprint := text.fingerprint
		if isForm {
			form := body.NewForm(text, boundary, limits, hasKey)
			request, fingerprint = form, form.Fingerprint
		}
		for {
			image, err := request.Next()
			if errors.Is(err, io.EOF) {
				b.Fingerprint, b.Metadata, b.Warnings = fingerprint(), request.Metadata(), request.Warnings()
				b.Captions = captionsFor(by, request.Captions())
				return nil
			}
			if err != nil {
				return err
			}
			if err := b.Add(ctx, image); err != nil {
				return err
			}
		}
	})
}

// captionsFor returns whether a vision model may see the images of a request: not if its API key is
// for images that none may see, whatever the request says.
func captionsFor(by *apikey.Key, requested *bool) *bool {
	if by.CaptionsOff {
		return new(bool)
	}
	return requested
}

var validKey = regexp.MustCompile(`^[ -~]{1,255}$`)

// keyOf returns the request's idempotency key, or zero if it has none. Each name has its
// own keys.
func keyOf(by *apikey.Key, r *http.Request) (job.Key, error) {
	values := r.Header.Values(idempotencyKey)
	if len(values) == 0 {
		return job.Key{}, nil
	}
	if len(values) > 1 || !validKey.MatchString(values[0]) {
		return job.Key{}, errIdempotencyKey
	}
	return job.Key{Scope: by.Name, Name: values[0]}, nil
}

// known returns the job of an earlier request with this key, or nil if there is none. It
// calls fingerprint, which reads this request, only to compare it with the earlier one.
func (s *Server) known(ctx context.Context, key job.Key, fingerprint func() (string, error)) (*job.Job, error) {
	if key.Name == "" {
		return nil, nil
	}
	j, err := s.deps.Jobs.Keyed(ctx, key)
	switch {
	case errors.Is(err, job.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case j.Status == job.Receiving:
		return nil, errReceiving
	}
	now, err := fingerprint()
	if err != nil {
		return nil, err
	}
	if now != j.Fingerprint {
		return nil, errKeyReused
	}
	return j, nil
}

// newJob creates a job from the images that fill adds to its batch. It starts with
// room bytes of upload memory.
func (s *Server) newJob(ctx context.Context, by *apikey.Key, key job.Key, room int64, fill func(context.Context, *intake.Batch, *held) error) (*job.Job, error) {
	select {
	case <-s.closing.Done():
		return nil, errClosing
	default:
	}
	if err := s.deps.Intake.Full(ctx); err != nil {
		return nil, err
	}
	if err := s.checkOpenImages(ctx, by); err != nil {
		return nil, err
	}
	memory, err := s.uploads.hold(by, room)
	if err != nil {
		return nil, err
	}
	defer memory.release()

	batch := s.deps.Intake.Begin()
	batch.Owner = by.Name
	defer batch.Abort(context.WithoutCancel(ctx)) // does nothing after Commit
	if err := batch.Hold(ctx, key); err != nil {
		return nil, err
	}
	if err := fill(ctx, batch, memory); err != nil {
		return nil, err
	}
	return batch.Commit(ctx)
}

// writeCreated responds with a job that this request, or an earlier one, has created.
func writeCreated(c echo.Context, j *job.Job) error {
	detailsOf(c).jobID = j.ID
	c.Response().Header().Set("Location", detailsOf(c).base+pathBatch+"/"+j.ID)
	return writeJSON(c, http.StatusCreated, createdJSON{
		JobID: j.ID, Status: job.Pending, CreatedAt: second(j.CreatedAt),
		Message: fmt.Sprintf("Batch job created with %d images", j.Total), // the spec has no other form for 1
		RetryOf: j.RetryOf, Warnings: j.Warnings,
	})
}
