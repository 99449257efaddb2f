package api

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// listPage is how many jobs are read and written at once; listLimit is the most
// that a client may ask for by limit.
const (
	listPage  = 50
	listLimit = 1000
)

// find reads the job that the path names. A name that is no UUID is not looked
// for, and for who is not to see it a job is not there.
func (s *Server) find(c echo.Context) (*job.Job, error) {
	id := c.Param("job_id")
	if !isUUID(id) {
		return nil, job.ErrNotFound
	}
	j, err := s.deps.Jobs.Get(c.Request().Context(), id)
	if err == nil && !callerOf(c).viewer().Sees(j) {
		return nil, job.ErrNotFound
	}
	return j, err
}

// isUUID reports whether s is a UUID as the server writes it.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// status answers with one job.
func (s *Server) status(c echo.Context) error {
	j, err := s.find(c)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, jobShape(j))
}

// list answers with all jobs of the caller, newest first, or with a part of them. It holds one
// page at a time. Jobs that are made meanwhile are not in it.
func (s *Server) list(c echo.Context) error {
	limit, after, err := listQuery(c)
	if err != nil {
		return err
	}
	ctx, whose := c.Request().Context(), callerOf(c).viewer()
	page, err := s.deps.Jobs.List(ctx, whose, after, pageSize(limit, 0))
	if err != nil {
		return err
	}
	w := c.Response()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if c.Request().Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if _, err := w.Write([]byte(`{"jobs":[`)); err != nil {
		return err
	}
	written := 0
	for {
		for _, j := range page {
			if err := writeElement(w, written, j); err != nil {
				return err
			}
			written++
		}
		if len(page) == 0 || written == limit {
			break
		}
		last := page[len(page)-1]
		after = job.Cursor{CreatedAt: last.CreatedAt, ID: last.ID}
		if page, err = s.deps.Jobs.List(ctx, whose, after, pageSize(limit, written)); err != nil {
			return err
		}
	}
	end, err := s.listEnd(ctx, whose, limit, written, page)
	if err != nil {
		return err
	}
	_, err = w.Write(end)
	return err
}

func pageSize(limit, written int) int {
	if limit == 0 {
		return listPage
	}
	return min(listPage, limit-written)
}

func writeElement(w *echo.Response, written int, j *job.Job) error {
	data, err := encode(jobShape(j))
	if err != nil {
		return err
	}
	if written > 0 {
		data = append([]byte{','}, data...)
	}
	_, err = w.Write(data)
	return err
}

// listEnd is what follows the jobs: their number, or, of a part, the number of
// all there are and where to go on.
func (s *Server) listEnd(ctx context.Context, whose job.Viewer, limit, written int, page []*job.Job) ([]byte, error) {
	if limit == 0 {
		return fmt.Appendf(nil, "],\"total\":%d}\n", written), nil
	}
	total, err := s.total(ctx, whose)
	if err != nil {
		return nil, err
	}
	end := fmt.Appendf(nil, "],\"total\":%d", total)
	if written == limit {
		last := page[len(page)-1]
		next := job.Cursor{CreatedAt: last.CreatedAt, ID: last.ID}
		more, err := s.deps.Jobs.List(ctx, whose, next, 1)
		if err != nil {
			return nil, err
		}
		if len(more) > 0 {
			end = fmt.Appendf(end, ",\"next_page_token\":%q", pageToken(next))
		}
	}
	return append(end, "}\n"...), nil
}

// total is how many jobs there are for the viewer.
func (s *Server) total(ctx context.Context, whose job.Viewer) (int, error) {
	if !whose.All {
		return s.deps.Jobs.Owned(ctx, whose.Owner)
	}
	counts, err := s.deps.Jobs.Count(ctx)
	return counts.Jobs, err
}

// listQuery reads limit, 0 when all jobs are wanted, and page_token.
func listQuery(c echo.Context) (limit int, after job.Cursor, err error) {
	// What cannot be read of a query is left out of its values without a word, and a
	// list without the limit that was asked for is no answer.
	if _, err := url.ParseQuery(c.Request().URL.RawQuery); err != nil {
		return 0, after, refuse(http.StatusBadRequest, "Invalid query: want name=value, joined by &")
	}
	if text := c.QueryParam("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > listLimit {
			return 0, after, refuse(http.StatusBadRequest, fmt.Sprintf("limit must be a number from 1 to %d", listLimit))
		}
	}
	if text := c.QueryParam("page_token"); text != "" {
		var ok bool
		if after, ok = readPageToken(text); !ok {
			return 0, after, refuse(http.StatusBadRequest, "page_token is invalid")
		}
	}
	return limit, after, nil
}

// pageToken writes a place in the list: nanoseconds since 1970, then the job's
// id.
func pageToken(at job.Cursor) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(at.CreatedAt.UnixNano()))
	return base64.RawURLEncoding.EncodeToString(append(b, at.ID...))
}

func readPageToken(token string) (job.Cursor, bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < 8 || !isUUID(string(b[8:])) {
		return job.Cursor{}, false
	}
	at := int64(binary.BigEndian.Uint64(b))
	return job.Cursor{CreatedAt: time.Unix(0, at).UTC(), ID: string(b[8:])}, true
}
