package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/progress"
	"github.com/imagebatch/imagebatch/shared/buildinfo"
)

// The values of Cache-Control. Only the client may store a response to revalidate, and must
// ask the server before each use whether it is current.
const (
	noStore    = "no-store"
	revalidate = "private, no-cache"
)

// maxWait is the maximum time for which a request waits for a change.
const maxWait = 30 * time.Second

// releaseTag returns a short name of the build. Another build may represent a job in another
// way.
func releaseTag() string {
	sum := sha256.Sum256([]byte(buildinfo.Version + " " + buildinfo.Commit()))
	return fmt.Sprintf("%x", sum[:4])
}

// jobTag returns the entity tag of a job: its revision and the build. The tag is weak,
// because two builds without a commit, or a proxy that compresses, may write the same job in
// other bytes (RFC 9110, section 8.8.1). Only If-None-Match reads it, which compares weakly.
func (s *Server) jobTag(j *job.Job) string { return fmt.Sprintf(`W/"%d-%s"`, j.Revision, s.release) }

// namesTag reports whether If-None-Match names the tag or is "*" (RFC 9110, section 13.1.2).
func namesTag(h http.Header, tag string) bool {
	return lists(h["If-None-Match"], strings.Trim(tag, `W/"`), true)
}

// preferredWait returns the time for which the client prefers to wait, at most maxWait (RFC
// 7240, section 4.3). As the RFC requires, only the first such preference counts, and one
// that is not a number of seconds is ignored.
func preferredWait(h http.Header) time.Duration {
	for p := range strings.SplitSeq(strings.Join(h.Values("Prefer"), ","), ",") {
		p, _, _ = strings.Cut(p, ";")
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(value), `"`), 10, 32)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0
		}
		return min(time.Duration(seconds)*time.Second, maxWait) //nolint:gosec // it has 32 bits
	}
	return 0
}

// awaitChange waits until the job has a higher revision, at most for the given time, or until
// the server shuts down. The request counts as a watcher of the job, like a WebSocket, and
// learns of changes by other gateways in the same way.
func (s *Server) awaitChange(c echo.Context, revision int64, wait time.Duration) error {
	d, client, started := detailsOf(c), c.Request().Context(), time.Now()
	defer func() { d.waited = time.Since(started) }()
	ctx, cancel := context.WithTimeout(client, wait)
	defer cancel()
	watcher, closed, err := s.follow(ctx, d)
	switch {
	case err == nil:
		defer closed()
	case errors.Is(err, progress.ErrClosed), ctx.Err() != nil:
		return client.Err()
	default:
		return err
	}
	for {
		over := watcher.Skip()
		switch {
		case watcher.Job().Revision > revision, errors.Is(over, progress.ErrClosed):
			return nil
		case over != nil: // the job was deleted
			return job.ErrNotFound
		}
		select {
		case <-watcher.Ready():
		case <-s.closing.Done(): // the client must ask another gateway
			c.Response().Header().Set("Connection", "close")
			return nil
		case <-d.by.Removed():
			return errKeyUnknown
		case <-ctx.Done(): // the time is over, or the client has disconnected
			return client.Err()
		}
	}
}
