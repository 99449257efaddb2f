package api

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

const (
	listPage  = 50   // jobs that are read and written at a time
	listLimit = 1000 // maximum limit that a client may request
)

// find returns the job that the path names. A job that the caller may not see does
// not exist for it.
func (s *Server) find(c echo.Context) (*job.Job, error) {
	id := detailsOf(c).jobID
	if !isUUID(id) {
		return nil, job.ErrNotFound
	}
	j, err := s.deps.Jobs.Get(c.Request().Context(), id)
	if err == nil && !viewerOf(detailsOf(c).by).Sees(j) {
		return nil, job.ErrNotFound
	}
	return j, err
}

// isUUID reports whether s is a UUID as the server writes it.
func isUUID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}

// status responds with one job.
func (s *Server) status(c echo.Context) error {
	j, err := s.find(c)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, jobShape(j))
}

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
		return errEnded.with(j.Status)
	}
	return writeJSON(c, http.StatusOK, jobShape(j))
}

// list responds with all jobs of the caller or a part of them, newest first. It holds
// one page at a time. The list does not contain jobs that are created meanwhile.
func (s *Server) list(c echo.Context) error {
	limit, after, err := listQuery(c)
	if err != nil {
		return err
	}
	ctx, viewer := c.Request().Context(), viewerOf(detailsOf(c).by)
	written := 0
	read := func() ([]*job.Job, error) {
		size := listPage
		if limit > 0 {
			size = min(size, limit-written)
		}
		return s.deps.Jobs.List(ctx, viewer, after, size)
	}
	page, err := read()
	if err != nil {
		return err
	}
	startJSON(c)
	w := c.Response()
	if c.Request().Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	separator := `{"jobs":[`
	for len(page) > 0 {
		for _, j := range page {
			data, err := encode(jobShape(j))
			if err != nil {
				return err
			}
			if _, err := w.Write(append([]byte(separator), data...)); err != nil {
				return err
			}
			written, separator, after = written+1, ",", job.Cursor{CreatedAt: j.CreatedAt, ID: j.ID}
		}
		if written == limit {
			break
		}
		if page, err = read(); err != nil {
			return err
		}
	}
	total := written
	switch { // a part reports the total of the whole list
	case limit > 0 && viewer.All:
		var counts job.Counts
		counts, err = s.deps.Jobs.Count(ctx)
		total = counts.Jobs
	case limit > 0:
		total, err = s.deps.Jobs.Owned(ctx, viewer.Owner)
	}
	if err != nil {
		return err
	}
	end := []byte("]")
	if written == 0 {
		end = []byte(separator + "]")
	}
	end = fmt.Appendf(end, `,"total":%d`, total)
	if written == limit {
		more, err := s.deps.Jobs.List(ctx, viewer, after, 1)
		if err != nil {
			return err
		}
		if len(more) > 0 {
			end = fmt.Appendf(end, `,"next_page_token":%q`, pageToken(after))
		}
	}
	_, err = w.Write(append(end, "}\n"...))
	return err
}

// listQuery reads limit, 0 for all jobs, and page_token.
func listQuery(c echo.Context) (limit int, after job.Cursor, err error) {
	// Echo silently ignores values that it cannot parse, and a list without the
	// requested limit would be wrong.
	if _, err := url.ParseQuery(c.Request().URL.RawQuery); err != nil {
		return 0, after, errQuery
	}
	if text := c.QueryParam("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > listLimit {
			return 0, after, errLimit.with(listLimit)
		}
	}
	if token := c.QueryParam("page_token"); token != "" {
		b, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || len(b) < 8 || !isUUID(string(b[8:])) {
			return 0, after, errPageToken
		}
		after = job.Cursor{CreatedAt: time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC(), ID: string(b[8:])}
	}
	return limit, after, nil
}

// pageToken encodes a position in the list: nanoseconds since 1970, then the job's ID.
func pageToken(at job.Cursor) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.CreatedAt.UnixNano()))
	return base64.RawURLEncoding.EncodeToString(append(b, at.ID...))
}
