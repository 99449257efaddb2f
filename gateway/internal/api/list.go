package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

const (
	listPage  = 50   // jobs that are read and written at a time
	listLimit = 1000 // maximum limit that a client may request
)

// list responds with the jobs of the caller that pass its filters, or with one page of them.
// It holds few jobs at a time. The list does not contain jobs that are created meanwhile,
// unless the oldest come first.
func (s *Server) list(c echo.Context) error {
	want, err := readListQuery(c)
	if err != nil {
		return err
	}
	ctx, parts := c.Request().Context(), s.partsOf(c, want)
	page, err := parts.next(ctx)
	if err != nil {
		return err
	}
	startJSON(c, noStore)
	w := c.Response()
	if c.Request().Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	written, separator := 0, `{"jobs":[`
	for {
		for _, j := range page.Jobs {
			shape := jobShape(j)
			if want.Summary {
				shape.Images = nil
			}
			data, err := encode(shape)
			if err != nil {
				return err
			}
			if _, err := w.Write(append([]byte(separator), bytes.TrimSuffix(data, []byte("\n"))...)); err != nil {
				return err
			}
			written, separator = written+1, ","
		}
		if parts.ended {
			break
		}
		if page, err = parts.next(ctx); err != nil {
			return err
		}
	}
	end := []byte("]")
	if written == 0 {
		end = []byte(separator + "]")
	}
	if want.Filter.Zero() {
		total, err := s.total(c, want, written)
		if err != nil {
			return err
		}
		end = fmt.Appendf(end, `,"total":%d`, total)
	}
	if page.More() {
		end = fmt.Appendf(end, `,"next_page_token":%q`, pageToken(page.Next, want.key))
	}
	_, err = w.Write(append(end, "}\n"...))
	return err
}

// parts reads the list of one response part by part.
type parts struct {
	jobs  jobs
	query job.Query
	left  int  // number of jobs that the client still wants
	all   bool // the client wants all jobs: left has no meaning
	ended bool // no part follows in this response
}

func (s *Server) partsOf(c echo.Context, want listQuery) *parts {
	p := &parts{jobs: s.deps.Jobs, query: want.Query, left: want.limit, all: want.limit == 0}
	p.query.Viewer, p.query.Examine = viewerOf(detailsOf(c).by), job.MaxExamined
	return p
}

// next returns the next part. All parts of a page that the client requested may together
// examine job.MaxExamined jobs.
func (p *parts) next(ctx context.Context) (job.Page, error) {
	p.query.Limit = listPage
	if !p.all {
		p.query.Limit = min(listPage, p.left)
	}
	page, err := p.jobs.List(ctx, p.query)
	p.query.After = page.Next
	p.ended = !page.More()
	if !p.all {
		p.left -= len(page.Jobs)
		p.query.Examine -= page.Examined
		p.ended = p.ended || p.left <= 0 || p.query.Examine <= 0
	}
	return page, err
}

// total returns the number of jobs in the whole list.
func (s *Server) total(c echo.Context, want listQuery, written int) (int, error) {
	ctx, viewer := c.Request().Context(), viewerOf(detailsOf(c).by)
	switch {
	case want.limit == 0:
		return written, nil
	case viewer.All:
		counts, err := s.deps.Jobs.Count(ctx)
		return counts.Jobs, err
	}
	return s.deps.Jobs.Owned(ctx, viewer.Owner)
}
