package api

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
)

// quotas keep what each name does within its limits, so that nobody is slow
// because somebody else is busy. They are this gateway's own and begin anew with it;
// only the open images are counted in the job store, over all gateways. Without API
// keys there is nobody to tell from another, and no quota.
type quotas struct {
	mu sync.Mutex // guards all usages
	of map[string]*usage
}

// usage is what one name has done. There are no more of them than names have been
// in the file.
type usage struct {
	requests, bytes spent
	sockets         int // at this moment
}

func newQuotas() *quotas { return &quotas{of: map[string]*usage{}} }

// with does something with the usage of a name.
func (q *quotas) with(name string, do func(*usage)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.of[name]
	if u == nil {
		u = &usage{}
		q.of[name] = u
	}
	do(u)
}

// spent is how much of a minute's limit is used up. It is paid back evenly, and may
// be more than the limit, for what could not be told before.
type spent struct {
	amount float64
	at     time.Time
}

// now is what is used up now, when a minute pays back limit.
func (s *spent) now(limit float64, now time.Time) float64 {
	if passed := now.Sub(s.at); passed > 0 {
		s.amount = max(0, s.amount-limit*passed.Minutes())
		s.at = now
	}
	return s.amount
}

// wait is how long it takes, in whole seconds and at least one, until amount is paid
// back.
func wait(amount, limit float64) int { return int(max(1, math.Ceil(amount*60/limit))) }

// tooMany is the answer to who has come to a limit.
func tooMany(text string, seconds int) *refusal {
	return &refusal{
		status: http.StatusTooManyRequests, text: text + ", try again later",
		header: http.Header{"Retry-After": {strconv.Itoa(seconds)}},
	}
}

// ration keeps a caller within its limits, and tells it of them.
func (s *Server) ration(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		by := callerOf(c)
		if by.key == nil {
			return next(c)
		}
		// A retry copies originals, which takes as much memory as a batch.
		heavy := isUpload(c) || c.Path() == pathRetry
		if err := s.enter(by, heavy, c.Response().Header()); err != nil {
			return s.decline(c, err)
		}
		if !heavy {
			return next(c)
		}
		if by.limits().UploadBytesPerMinute > 0 {
			r := c.Request()
			r.Body = &metered{r.Body, func(n int) { s.quotas.with(by.name(), func(u *usage) { u.bytes.amount += float64(n) }) }}
		}
		return next(c)
	}
}

// enter counts a request, or refuses it. The header gets the fields of
// draft-ietf-httpapi-ratelimit-headers-10.
func (s *Server) enter(by caller, heavy bool, h http.Header) (err error) {
	limits := by.limits()
	var policy, left []string
	tell := func(name string, used, limit float64, unit string) {
		policy = append(policy, fmt.Sprintf("%q;q=%.0f;w=60%s", name, limit, unit))
		left = append(left, fmt.Sprintf("%q;r=%.0f;t=%d", name, math.Floor(max(0, limit-used)), wait(used, limit)))
	}
	s.quotas.with(by.name(), func(u *usage) {
		now := time.Now()
		if limit := float64(limits.RequestsPerMinute); limit > 0 {
			if used := u.requests.now(limit, now); used+1 > limit {
				err = tooMany("Too many requests", wait(used+1-limit, limit))
			} else {
				u.requests.amount++
			}
			tell("requests", u.requests.amount, limit, "")
		}
		if limit := float64(limits.UploadBytesPerMinute); limit > 0 {
			used := u.bytes.now(limit, now)
			if err == nil && heavy && used >= limit {
				err = tooMany("Too many bytes uploaded", wait(used-limit+1, limit))
			}
			tell("upload-bytes", used, limit, `;qu="content-bytes"`)
		}
	})
	if len(policy) > 0 {
		h.Set("RateLimit-Policy", strings.Join(policy, ", "))
		h.Set("RateLimit", strings.Join(left, ", "))
	}
	return err
}

// metered tells how much is read of a body.
type metered struct {
	io.ReadCloser
	read func(n int)
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.ReadCloser.Read(p)
	m.read(n)
	return n, err
}

// roomFor refuses a caller that has as many images open as it may. Batches that are
// being received at that moment still get in.
func (s *Server) roomFor(ctx context.Context, by caller) error {
	limit := by.limits().OpenImages
	if limit == 0 {
		return nil
	}
	open, err := s.deps.Jobs.OpenImages(ctx, by.name())
	if err != nil {
		return err
	}
	if open >= limit {
		return tooMany("Too many images in progress with this API key", 5)
	}
	return nil
}

// openSocket counts a WebSocket of the caller until closed is called.
func (s *Server) openSocket(by caller) (closed func(), err error) {
	if by.key == nil {
		return func() {}, nil
	}
	s.quotas.with(by.name(), func(u *usage) {
		if limit := by.limits().Sockets; limit > 0 && u.sockets >= limit {
			err = tooMany("Too many WebSocket connections with this API key", 5)
			return
		}
		u.sockets++
	})
	if err != nil {
		return nil, err
	}
	return func() { s.quotas.with(by.name(), func(u *usage) { u.sockets-- }) }, nil
}
