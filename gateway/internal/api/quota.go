package api

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/time/rate"

	"github.com/imagebatch/imagebatch/gateway/internal/apikey"
	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
)

// quotas keeps each name of an API key within its limits, so that a busy client does not
// slow down the others. The quotas are local to this gateway and start empty with it;
// only the open images are counted in the job store, over all gateways. Without API keys
// the server cannot distinguish clients, and there is no quota.
type quotas struct {
	mu sync.Mutex // guards all usages
	of map[string]*usage
}

// usage is the usage of one name. The number of usages is limited by the names in the file.
type usage struct {
	requests, bytes *rate.Limiter
	watchers        int64 // open WebSockets and event streams, and waiting requests
}

// with calls do with the usage of the name.
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

// bucket returns the token bucket of a limit per minute, or nil without a limit. A changed
// limit starts with a full bucket.
func bucket(l **rate.Limiter, perMinute int64) *rate.Limiter {
	switch {
	case perMinute == 0:
		*l = nil
	case *l == nil || (*l).Burst() != int(perMinute):
		*l = rate.NewLimiter(rate.Limit(float64(perMinute)/60), int(perMinute))
	}
	return *l
}

// seconds returns the time that a limiter needs to refill the tokens, in seconds, rounded
// up and at least 1.
func seconds(l *rate.Limiter, tokens float64) int {
	return int(max(1, math.Ceil(tokens/float64(l.Limit()))))
}

// checkQuota counts a request or rejects it, and describes both quotas in the headers of
// draft-ietf-httpapi-ratelimit-headers-10.
func (s *Server) checkQuota(c echo.Context) (err error) {
	d := detailsOf(c)
	var policy, left []string
	describe := func(name string, l *rate.Limiter, tokens float64, unit string) {
		policy = append(policy, fmt.Sprintf("%q;q=%d;w=60%s", name, l.Burst(), unit))
		left = append(left, fmt.Sprintf("%q;r=%.0f;t=%d", name, math.Floor(max(0, tokens)), seconds(l, float64(l.Burst())-tokens)))
	}
	now := time.Now()
	s.quotas.with(d.by.Name, func(u *usage) {
		if l := bucket(&u.requests, d.by.Limits.RequestsPerMinute); l != nil {
			if !l.AllowN(now, 1) {
				err = errRequestQuota.after(seconds(l, 1-l.TokensAt(now)))
			}
			describe("requests", l, l.TokensAt(now), "")
		}
		if l := bucket(&u.bytes, d.by.Limits.UploadBytesPerMinute); l != nil {
			tokens := l.TokensAt(now)
			if err == nil && d.Body != NoBody && d.Body != SmallBody && tokens <= 0 {
				err = errByteQuota.after(seconds(l, 1-tokens))
			}
			describe("upload-bytes", l, tokens, `;qu="content-bytes"`)
		}
	})
	if len(policy) > 0 {
		c.Response().Header().Set("RateLimit-Policy", strings.Join(policy, ", "))
		c.Response().Header().Set("RateLimit", strings.Join(left, ", "))
	}
	return err
}

// chargeBytes counts the bytes of a batch. A batch that has started may exceed the quota:
// the bucket then goes into debt, which the limiter allows in steps of its burst.
func (s *Server) chargeBytes(by *apikey.Key, n int) {
	s.quotas.with(by.Name, func(u *usage) {
		for ; u.bytes != nil && n > 0; n -= u.bytes.Burst() {
			u.bytes.ReserveN(time.Now(), min(n, u.bytes.Burst()))
		}
	})
}

// checkOpenImages rejects a new job of a name that has reached its limit of open images.
// Batches that are being received at that moment are still accepted.
func (s *Server) checkOpenImages(ctx context.Context, by *apikey.Key) error {
	limit := by.Limits.OpenImages
	if limit == 0 {
		return nil
	}
	open, err := s.deps.Jobs.OpenImages(ctx, by.Name)
	if err == nil && int64(open) >= limit {
		return errOpenImagesQuota
	}
	return err
}

// follow lets the caller watch the job that the path names, if it may see the job. A WebSocket,
// an event stream and a waiting request count alike. The caller calls closed, unless there is
// an error.
func (s *Server) follow(ctx context.Context, d *details) (_ *progress.Watcher, closed func(), err error) {
	if !isUUID(d.jobID) {
		return nil, nil, job.ErrNotFound
	}
	name, limit := d.by.Name, d.by.Limits.Sockets
	s.quotas.with(name, func(u *usage) {
		if limit > 0 && u.watchers >= limit {
			err = errWatcherQuota
			return
		}
		u.watchers++
	})
	if err != nil {
		return nil, nil, err
	}
	leave := func() { s.quotas.with(name, func(u *usage) { u.watchers-- }) }
	w, err := s.deps.Hub.Subscribe(ctx, d.jobID)
	if err != nil {
		leave()
		return nil, nil, err
	}
	closed = func() { w.Close(); leave() }
	if !viewerOf(d.by).Sees(w.Job()) {
		closed()
		return nil, nil, job.ErrNotFound
	}
	return w, closed, nil
}
