package sqlstore

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// The list is read along an index that contains only the wanted jobs, in the order of the
// list. With several statuses, there is one index range for each, and the store merges them.
// Only the retries of one job, which are few, are filtered after they are read.

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
	everyJob      = listing{"jobs_list", `j.visible = true`}
	ownedJobs     = listing{"jobs_owned", `CASE WHEN j.visible = true AND j.owner <> '' THEN j.owner END = $`}
	retries       = listing{"jobs_retries", `CASE WHEN j.visible = true AND j.retry_of <> '' THEN j.retry_of END = $`}
	withStatus    = listing{"jobs_status", `CASE WHEN j.visible = true THEN j.status END = $`}
	withFailures  = listing{"jobs_failed", `CASE WHEN j.visible = true AND j.failed > 0 THEN j.status END = $`}
	ownedStatus   = listing{"jobs_owned_status", `CASE WHEN j.visible = true THEN nullif(j.owner, '') END = $ AND j.status = $`}
	ownedFailures = listing{"jobs_owned_failed", `CASE WHEN j.visible = true AND j.failed > 0 AND j.owner <> '' THEN j.owner END = $ AND j.status = $`}
)

// text returns the statement of the listing. Its arguments are those of the condition, the
// position before the first job, the position after the last, and the limit. SQLite is told
// the index: it has no statistics, and might choose an index of which most jobs are not wanted.
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
	for _, l := range []listing{everyJob, ownedJobs, retries, withStatus, withFailures, ownedStatus, ownedFailures} {
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
		found, err := x.list(ctx, q, &page)
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
		passes := r != nil && q.Filter.Selects(&r.Job)
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

// merge reads the ranges of a listing in the order of the list.
type merge struct {
	x         *session
	query     string
	oldest    bool
	batch     int // maximum number of jobs that are read from a range at a time
	left      int // number of jobs that may still be read
	ranges    []*jobRange
	examined  int
	exhausted bool // the next job could not be read, because too many have been
}

// jobRange is a range of an index, with those of its jobs that were read and not yet returned.
type jobRange struct {
	args     []any
	from, to position // of the jobs that were not yet read
	read     []*row
	ended    bool
}

// examineAtOnce is the number of jobs that are read at a time if not all of them may pass the
// filter.
const examineAtOnce = 256

func newMerge(x *session, q job.Query) *merge {
	l, ranges := listingOf(q.Filter)
	m := &merge{x: x, query: l.text(q.Oldest), oldest: q.Oldest, batch: q.Limit/len(ranges) + 1, left: max(q.Examine, len(ranges))}
	if l == retries {
		m.batch = examineAtOnce
	}
	from, to := span(q)
	for _, args := range ranges {
		m.ranges = append(m.ranges, &jobRange{args: args, from: from, to: to})
	}
	return m
}

// head returns the next job, or nil at the end of the list or of what may be examined. wanted
// is the number of jobs that may still be used.
func (m *merge) head(ctx context.Context, wanted int) (*row, error) {
	if err := m.fill(ctx, wanted); err != nil || m.exhausted {
		return nil, err
	}
	if len(m.ranges) == 0 {
		return nil, nil
	}
	return m.first().read[0], nil
}

// next moves behind the job that head returned.
func (m *merge) next() {
	r := m.first()
	r.read = r.read[1:]
}

// first returns the range with the next job.
func (m *merge) first() *jobRange {
	return slices.MinFunc(m.ranges, func(a, b *jobRange) int {
		order := a.read[0].position().compare(b.read[0].position())
		if m.oldest {
			return order
		}
		return -order
	})
}

// fill reads the next jobs of the ranges from which all jobs were returned, and removes those
// that have none.
func (m *merge) fill(ctx context.Context, wanted int) error {
	var empty []*jobRange
	for _, r := range m.ranges {
		if len(r.read) == 0 && !r.ended {
			empty = append(empty, r)
		}
	}
	if m.exhausted = m.left < len(empty); m.exhausted {
		return nil
	}
	n := m.batch
	if n != examineAtOnce {
		n = min(n, wanted)
	}
	n = min(n, m.left/max(len(empty), 1))
	var reads []*statement
	for _, r := range empty {
		reads = append(reads, into(&r.read, readJob, m.query, append(slices.Clone(r.args), r.from.createdAt, r.from.id, r.to.createdAt, r.to.id, n)...))
	}
	if len(reads) > 0 {
		if err := m.x.run(ctx, reads...); err != nil {
			return err
		}
	}
	for _, r := range empty {
		m.examined, m.left = m.examined+len(r.read), m.left-len(r.read)
		r.ended = len(r.read) < n
		if len(r.read) > 0 && m.oldest {
			r.from = r.read[len(r.read)-1].position()
		} else if len(r.read) > 0 {
			r.to = r.read[len(r.read)-1].position()
		}
	}
	m.ranges = slices.DeleteFunc(m.ranges, func(r *jobRange) bool { return r.ended && len(r.read) == 0 })
	return nil
}
