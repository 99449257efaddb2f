package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
)

// The body of a request passes through five readers, from the connection to the job:
//
//  1. http.MaxBytesReader rejects bodies that are larger than the largest batch.
//  2. requestBody ends a body that arrives too slowly, and counts its bytes against the
//     quota of its API key.
//  3. A reader of package coding decodes it, and queries uploadMemory before it takes memory.
//  4. batchBody applies the limits of 1 and 2 to the decoded bytes, and computes the
//     fingerprint.
//  5. [body.Reader] parses it, and queries uploadMemory before its buffer grows.

// Limits of a rejected body: the server reads on for a moment, so that the sender sees
// the response and not a broken connection.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 32 << 20
)

// pace is the minimum speed of a request's body.
type pace struct {
	slowest int64         // minimum bytes per second
	grace   time.Duration // maximum time by which a body may be behind
}

// requestBody reads the body of one request. Only the time spent waiting for the client
// counts against the pace. A client that is ahead of the pace gains at most the grace
// time.
type requestBody struct {
	request *http.Request
	limited io.Reader
	control *http.ResponseController
	pace    pace
	credit  time.Duration
	read    int64
	charge  func(n int) // counts bytes against a quota
}

func (s *Server) newRequestBody(c echo.Context, maxBytes int64) *requestBody {
	w := c.Response().Writer
	return &requestBody{
		request: c.Request(), limited: http.MaxBytesReader(w, c.Request().Body, maxBytes),
		control: http.NewResponseController(w), pace: s.config.pace, credit: s.config.pace.grace,
		charge: func(int) {},
	}
}

func (b *requestBody) Read(p []byte) (int, error) {
	start := time.Now()
	if err := b.setDeadline(start.Add(b.credit)); err != nil {
		return 0, err
	}
	n, err := b.limited.Read(p)
	b.read += int64(n)
	b.credit = min(b.credit-time.Since(start)+time.Duration(int64(n)*int64(time.Second)/b.pace.slowest), b.pace.grace)
	b.charge(n)
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil || tooLarge:
		return n, err
	case errors.Is(err, io.EOF):
		// From now on net/http watches the connection, but only for its end. After any
		// other error it may try to read the rest, and needs the deadline.
		if err := b.setDeadline(time.Time{}); err != nil {
			return n, err
		}
		return n, io.EOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, fmt.Errorf("%w: %w", errSlow, err)
	}
	return n, fmt.Errorf("%w: %w", errCutOff, err)
}

func (b *requestBody) setDeadline(t time.Time) error {
	if err := b.control.SetReadDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("%w: %w", errCutOff, err)
	}
	return nil
}

// respondEarly lets a response be sent before the end of the body; otherwise net/http
// would read the rest first. An error means that this is impossible, as in tests.
func respondEarly(c echo.Context) {
	_ = http.NewResponseController(c.Response().Writer).EnableFullDuplex()
}

// breakOff responds with an error to a request whose body was partly read, and closes the
// connection.
func (s *Server) breakOff(c echo.Context, b *requestBody, err error) {
	c.Response().Header().Set("Connection", "close")
	s.fail(err, c)
	if http.NewResponseController(c.Response().Writer).Flush() != nil ||
		b.read == 0 && b.request.Header.Get("Expect") != "" { // the client waits for the response before it sends the body
		return
	}
	if b.control.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		n, _ := io.CopyN(io.Discard, b.request.Body, lingerBytes) // the error does not matter
		b.charge(int(n))
	}
}

// turnAway responds with an error to a request whose body was not read.
func (s *Server) turnAway(c echo.Context, err error) {
	if c.Request().ContentLength == 0 {
		s.fail(err, c)
		return
	}
	respondEarly(c)
	s.breakOff(c, s.newRequestBody(c, s.maxBody), err)
}

// dropBody reads the body of a request that should have none, because net/http would
// wait for it without a limit before it responds.
func (s *Server) dropBody(c echo.Context) error {
	if kind := detailsOf(c).Body; c.Request().ContentLength == 0 || kind == BatchBody || kind == SelectionBody || kind == SmallBody {
		return nil
	}
	_, err := io.Copy(io.Discard, s.newRequestBody(c, smallBody))
	return err
}

// uploadMemory limits the memory of the requests that are read concurrently. A request
// takes memory as its buffer grows, so that a request that announces much and sends
// little holds little.
//
// grow never blocks: waiting requests could starve each other while holding memory. A
// rejected request releases all its memory, so that the last remaining request finds
// all memory free. A request keeps its memory until its end, because its buffer serves
// the next image: it is rejected early or not at all, unless its images become larger.
type uploadMemory struct {
	share            int64    // maximum for one name
	tooMany, nothing *refusal // over the share; over all memory

	mu   sync.Mutex // guards the fields below
	free int64
	of   map[string]int64 // memory in use by name
}

// window is the memory that a request needs in addition to its current image.
const window = 64 << 10

// newUploadMemory reserves half of the memory for the other names, however slowly one
// name sends its batches. A single request of one bytes always fits.
func newUploadMemory(memory, one int64) *uploadMemory {
	return &uploadMemory{share: max(memory/2, one), tooMany: errMemoryShare, nothing: errNoMemory, free: max(memory, one), of: map[string]int64{}}
}

// held is the memory of one request. It is used by one goroutine.
type held struct {
	from *uploadMemory
	by   *apikey.Key
	n    int64
}

// hold takes n bytes. The caller releases them.
func (u *uploadMemory) hold(by *apikey.Key, n int64) (*held, error) {
	h := &held{from: u, by: by}
	return h, h.grow(n)
}

// grow takes n more bytes, or none and returns the reason. Without API keys there are no
// other names to reserve a share for.
func (h *held) grow(n int64) error {
	h.from.mu.Lock()
	defer h.from.mu.Unlock()
	switch {
	case h.by != anyone && h.from.of[h.by.Name]+n > h.from.share:
		return h.from.tooMany
	case n > h.from.free:
		return h.from.nothing
	}
	h.add(n)
	return nil
}

// release returns all memory.
func (h *held) release() {
	h.from.mu.Lock()
	defer h.from.mu.Unlock()
	h.add(-h.n)
	if h.from.of[h.by.Name] == 0 {
		delete(h.from.of, h.by.Name)
	}
}

func (h *held) add(n int64) {
	h.n += n
	h.from.free -= n
	h.from.of[h.by.Name] += n
}
