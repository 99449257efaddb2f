package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// create makes a job of the request.
func (s *Server) create(c echo.Context) error {
	early(c)
	in := newPacedBody(c, s.config.pace, s.maxBody)
	j, err := s.receive(callerOf(c), c.Request(), in)
	if err != nil {
		s.breakOff(c, in, err)
		return nil
	}
	return writeCreated(c, j)
}

// breakOff answers a request whose body is not to be read any further, and ends the
// connection.
func (s *Server) breakOff(c echo.Context, in *pacedBody, err error) {
	c.Response().Header().Set("Connection", "close")
	s.fail(err, c)
	if http.NewResponseController(c.Response().Writer).Flush() == nil {
		in.linger(c.Request())
	}
}

// turnAway answers a request that no handler has seen, so that its sender gets the
// answer though its body is not read any further.
func (s *Server) turnAway(c echo.Context, err error) {
	early(c)
	s.breakOff(c, newPacedBody(c, s.config.pace, s.maxBody), err)
}

// writeCreated answers with a job that a request has made, now or before.
func writeCreated(c echo.Context, j *job.Job) error {
	c.Set(created, j.ID)
	c.Response().Header().Set("Location", pathBatch+"/"+j.ID)
	return writeJSON(c, http.StatusCreated, createdJSON{
		JobID: j.ID, Status: job.Pending, CreatedAt: second(j.CreatedAt),
		Message: fmt.Sprintf("Batch job created with %d images", j.Total), // the document has no other form for 1
		RetryOf: j.RetryOf,
	})
}

// receive reads the request into a job that is durable when it returns. On an
// error there is nothing of it left. A request that has come before under the
// same key gives the job that it made then.
func (s *Server) receive(by caller, r *http.Request, in io.Reader) (*job.Job, error) {
	if r.ContentLength > s.maxBody {
		return nil, tooLarge(s.maxBody)
	}
	key, err := keyOf(by, r)
	if err != nil {
		return nil, err
	}
	request := &signed{r: in, sum: sha256.New(), idle: key.Name == ""}
	j, err := s.known(r.Context(), key, func() (string, error) {
		memory, err := s.uploads.hold(by, window)
		if err != nil {
			return "", err
		}
		defer memory.give()
		return request.whole()
	})
	if j != nil || err != nil {
		return j, err
	}
	return s.make(r.Context(), by, key, window, func(ctx context.Context, b *intake.Batch, memory *held) error {
		if err := s.read(ctx, request, b, memory); err != nil {
			return err
		}
		b.Fingerprint = request.fingerprint()
		return nil
	})
}

// make makes a new job of what fill puts into its batch, with so much room to begin
// with.
func (s *Server) make(ctx context.Context, by caller, key job.Key, room int64, fill func(context.Context, *intake.Batch, *held) error) (*job.Job, error) {
	select {
	case <-s.closing:
		return nil, errClosing
	default:
	}
	if err := s.deps.Intake.Full(ctx); err != nil {
		return nil, err
	}
	if err := s.roomFor(ctx, by); err != nil {
		return nil, err
	}
	memory, err := s.uploads.hold(by, room)
	if err != nil {
		return nil, err
	}
	defer memory.give()

	batch := s.deps.Intake.Begin()
	batch.Owner = by.name()
	defer batch.Abort(context.WithoutCancel(ctx)) // does nothing after Commit
	if err := batch.Hold(ctx, key); err != nil {
		return nil, err
	}
	if err := fill(ctx, batch, memory); err != nil {
		return nil, err
	}
	return batch.Commit(ctx)
}

// read reads all images of a request.
func (s *Server) read(ctx context.Context, in io.Reader, b *intake.Batch, memory *held) error {
	limits := s.limits
	limits.Grow = memory.grow
	images := body.NewReader(in, limits)
	for {
		image, err := images.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := b.Add(ctx, image); err != nil {
			return err
		}
	}
}
