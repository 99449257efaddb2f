package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/body"
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
	r := c.Request()
	// An answer may come before the end of the body; without this net/http would
	// read the rest before it sends it. An error means that it can't, as in tests.
	_ = http.NewResponseController(c.Response().Writer).EnableFullDuplex()
	in := newPacedBody(c, s.config.pace, s.maxBody)
	j, err := s.receive(r, in)
	if err != nil {
		c.Response().Header().Set("Connection", "close")
		s.fail(err, c)
		if http.NewResponseController(c.Response().Writer).Flush() == nil {
			in.linger(r)
		}
		return nil
	}
	c.Set(created, j.ID)
	c.Response().Header().Set("Location", pathBatch+"/"+j.ID)
	return writeJSON(c, http.StatusCreated, createdJSON{
		JobID: j.ID, Status: job.Pending, CreatedAt: second(j.CreatedAt),
		Message: fmt.Sprintf("Batch job created with %d images", j.Total), // the document has no other form for 1
	})
}

// receive reads the request into a job that is durable when it returns. On an
// error there is nothing of it left.
func (s *Server) receive(r *http.Request, in io.Reader) (*job.Job, error) {
	select {
	case <-s.closing:
		return nil, errClosing
	default:
	}
	ctx := r.Context()
	if r.ContentLength > s.maxBody {
		return nil, tooLarge(s.maxBody)
	}
	if err := s.deps.Intake.Full(ctx); err != nil {
		return nil, err
	}
	// The buffer of an image is never larger than the request it comes in.
	room := s.config.MaxImageBytes
	if r.ContentLength >= 0 {
		room = min(room, r.ContentLength)
	}
	room += window
	if !s.uploads.take(room) {
		return nil, errBusy
	}
	defer s.uploads.give(room)

	// A fingerprint of the request would be taken here, by a reader in between.
	images := body.NewReader(in, s.limits)
	batch := s.deps.Intake.Begin()
	defer batch.Abort(context.WithoutCancel(ctx)) // does nothing after Commit
	for {
		image, err := images.Next()
		if errors.Is(err, io.EOF) {
			return batch.Commit(ctx)
		}
		if err != nil {
			return nil, err
		}
		if err := batch.Add(ctx, image); err != nil {
			return nil, err
		}
	}
}
