package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
	"github.com/imagebatch/imagebatch/gateway/internal/intake"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// uploads bounds the memory of the requests that are read at once.
type uploads struct {
	mu   sync.Mutex // guards free
	free int64
}

// window is what reading a request takes beside the image in hand.
const window = 64 << 10

// take takes n bytes, if there are as many.
func (u *uploads) take(n int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if n > u.free {
		return false
	}
	u.free -= n
	return true
}

func (u *uploads) give(n int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.free += n
}

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
		if !s.uploads.take(window) {
			return "", errBusy
		}
		defer s.uploads.give(window)
		return request.whole()
	})
	if j != nil || err != nil {
		return j, err
	}
	// The buffer of an image is never larger than the request it comes in.
	room := s.config.MaxImageBytes
	if r.ContentLength >= 0 {
		room = min(room, r.ContentLength)
	}
	return s.make(r.Context(), by, key, room, func(ctx context.Context, b *intake.Batch) error {
		if err := s.read(ctx, request, b); err != nil {
			return err
		}
		b.Fingerprint = request.fingerprint()
		return nil
	})
}

// make makes a new job of what fill puts into its batch, with room for one image
// at a time.
func (s *Server) make(ctx context.Context, by caller, key job.Key, room int64, fill func(context.Context, *intake.Batch) error) (*job.Job, error) {
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
	room += window
	if !s.uploads.take(room) {
		return nil, errBusy
	}
	defer s.uploads.give(room)

	batch := s.deps.Intake.Begin()
	batch.Owner = by.name()
	defer batch.Abort(context.WithoutCancel(ctx)) // does nothing after Commit
	if err := batch.Hold(ctx, key); err != nil {
		return nil, err
	}
	if err := fill(ctx, batch); err != nil {
		return nil, err
	}
	return batch.Commit(ctx)
}

// read reads all images of a request.
func (s *Server) read(ctx context.Context, in io.Reader, b *intake.Batch) error {
	images := body.NewReader(in, s.limits)
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
