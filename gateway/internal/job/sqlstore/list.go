package sqlstore

import (
	"cmp"
	"context"
	"math"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// The list is read along an index that contains only the wanted jobs, in the order of the
// list. With several statuses, there is one index range for each, and the store merges them.
// Only the retries of one job and the jobs of one upload, which are few, and the jobs without
// captions, which an outage leaves, are filtered after they are read, by anything but the owner of
// the latter. No index serves a search, unless it is for an ID: it reads the names of the images.

// listing is a part of the list that is a range of an index.
type listing struct {
	index string
	where string // condition that matches the index, with a $ for each argument
}

// The listings. PostgreSQL's planner prefers an index in the order of the table and skips the
// rows that do not pass, whether that is one row or nearly all: it does not know the
// arguments of a prepared statement. Each condition is therefore about an expression that
// only one index has, and does not imply the condition of another partial index.
var (
	uploads          = listing{"jobs_uploads", `CASE WHEN j.visible = true AND j.upload <> '' THEN j.upload END = $`}
	everyJob         = listing{"jobs_list", `j.visible = true`}
	ownedJobs        = listing{"jobs_owned", `CASE WHEN j.visible = true AND j.owner <> '' THEN j.owner END = $`}
	retries          = listing{"jobs_retries", `CASE WHEN j.visible = true AND j.retry_of <> '' THEN j.retry_of END = $`}
	uncaptioned      = listing{"jobs_uncaptioned", `CASE WHEN j.visible = true AND j.uncaptioned > 0 THEN 1 END = 1`}
	ownedUncaptioned = listing{"jobs_owned_uncaptioned", `CASE WHEN j.visible = true AND j.uncaptioned > 0 THEN nullif(j.owner, '') END = $`}
	withStatus       = listing{"jobs_status", `CASE WHEN j.visible = true THEN j.status END = $`}
	withFailures     = listing{"jobs_failed", `CASE WHEN j.visible = true AND j.failed > 0 THEN j.status END = $`}
	ownedStatus      = listing{"jobs_owned_status", `CASE WHEN j.visible = true THEN nullif(j.owner, '') END = $ AND j.status = $`}
	ownedFailures    = listing{"jobs_owned_failed", `CASE WHEN j.visible = true AND j.failed > 0 AND j.owner <> '' THEN j.owner END = $ AND j.status = $`}
)

// text returns the statement of the listing. Its arguments are those of the condition, the
// position before the first job, the position after the last, and the limit. SQLite gets
// the name of the index: it has no statistics, and might choose an index of which most jobs are not wanted.
func (l listing) text(oldest bool) string {
	order := ` ORDER BY j.created_at DESC, j.id DESC`
	if oldest {
		order = ` ORDER BY j.created_at, j.id`
	}
	return numbered(`SELECT ` + jobColumns + ` FROM jobs j /*sqlite: INDEXED BY ` + l.index + ` */ WHERE ` + l.where +
		` AND (j.created_at, j.id) > ($, $) AND (j.created_at, j.id) < ($, $)` + order + ` LIMIT $`)
}

// listStatements returns the statements of all listings.
func listStatements() []string {
	var all []string
	for _, l := range []listing{everyJob, ownedJobs, retries, uploads, uncaptioned, ownedUncaptioned, withStatus, withFailures, ownedStatus, ownedFailures} {
		all = append(all, l.text(false), l.text(true))
	}
	return all
}

// listed are the statuses of the jobs in the list.
var listed = []job.Status{job.Pending, job.Processing, job.Completed, job.Failed, job.Cancelled}

// listingOf returns the listing that contains the jobs that pass the filter, and the arguments
// of its condition for each range.
func listingOf(f job.Filter) (l listing, ranges [][]any) {
	statuses := f.Statuses
	switch {
	case f.RetryOf != "":
		return retries, [][]any{{f.RetryOf}}
	case f.Upload != "":
		return uploads, [][]any{{f.Upload}}
	case f.Uncaptioned && f.Owner == "":
		return uncaptioned, [][]any{{}}
	case f.Uncaptioned:
		return ownedUncaptioned, [][]any{{f.Owner}}
	case len(statuses) == 0 && f.FailedImages:
		statuses = listed
	case len(statuses) == 0 && f.Owner == "":
		return everyJob, [][]any{{}}
	case len(statuses) == 0:
		return ownedJobs, [][]any{{f.Owner}}
	}
	switch {
	case f.FailedImages && f.Owner == "":
		l = withFailures
	case f.FailedImages:
		l = ownedFailures
	case f.Owner == "":
		l = withStatus
	default:
		l = ownedStatus
	}
	for _, status := range statuses {
		if f.Owner == "" {
			ranges = append(ranges, []any{status})
		} else {
			ranges = append(ranges, []any{f.Owner, status})
		}
	}
	return l, ranges
}

// position is a position in the order of creation.
type position struct {
	createdAt int64
	id        string
}

func (p position) compare(o position) int {
	return cmp.Or(cmp.Compare(p.createdAt, o.createdAt), cmp.Compare(p.id, o.id))
}

// span returns the position before the oldest and the position after the newest job of a
// query.
func span(q job.Query) (from, to position) {
	to = position{math.MaxInt64, ""}
	if !q.Filter.CreatedFrom.IsZero() {
		from = position{micros(q.Filter.CreatedFrom), ""} // every ID is after ""
	}
	if !q.Filter.CreatedBefore.IsZero() {
		to = position{micros(q.Filter.CreatedBefore), ""}
	}
	if at := (position{micros(q.After.CreatedAt), q.After.ID}); q.After.ID != "" && q.Oldest && at.compare(from) > 0 {
		from = at
	} else if q.After.ID != "" && !q.Oldest && at.compare(to) < 0 {
		to = at
	}
	return from, to
}

// List returns a page of the jobs that the viewer may see and that pass the filter. It returns
// fewer jobs than the limit at the end of the list, and where it has examined as many jobs as
// the query allows. Jobs that are created or deleted between two pages neither repeat nor hide
// others.
func (s *Store) List(ctx context.Context, q job.Query) (page job.Page, err error) {
	defer wrap(&err, "list jobs")
	if !q.Viewer.All {
		if q.Viewer.Owner == "" || q.Filter.Owner != "" && q.Filter.Owner != q.Viewer.Owner {
			return page, nil
		}
		q.Filter.Owner = q.Viewer.Owner
	}
	q.Limit, q.Examine = max(q.Limit, 0), cmp.Or(q.Examine, job.MaxExamined)
	err = s.read(ctx, func(ctx context.Context, x *session) error {
		page = job.Page{}
		found, err := x.byID(ctx, q, &page)
		if err == nil && len(found) == 0 {
			found, err = x.list(ctx, q, &page)
		}
		if err == nil && !q.Summary {
			err = x.images(ctx, found)
		}
		page.Jobs = jobs(found)
		return err
	})
	return page, err
}

// list returns the jobs of a page without their images, and sets the rest of the page.
func (x *session) list(ctx context.Context, q job.Query, page *job.Page) (found []*row, err error) {
	m := newMerge(x, q)
	at := q.After
	for {
		r, err := m.head(ctx, q.Limit-len(found)+1) // one more shows whether another page follows
		if page.Examined = m.examined; err != nil {
			return nil, err
		}
		passes := r != nil && q.Filter.Selects(&r.Job) && (q.Filter.Search == "" || r.found)
		switch {
		case r == nil && m.exhausted, passes && len(found) == q.Limit:
			page.Next = at
			return found, nil
		case r == nil:
			return found, nil
		case passes:
			found = append(found, r)
		}
		m.next()
		at = job.Cursor{CreatedAt: r.CreatedAt, ID: r.ID}
	}
}
