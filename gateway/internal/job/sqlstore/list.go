package sqlstore

import (
	"cmp"
	"context"
	"math"
	"strings"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// The list is read along an index that contains only the wanted jobs, in the order of the
// list. Only the retries of one job, which are few, are filtered after they are read.

// listing is a part of the list that has an index.
type listing struct {
	index  string
	where  string // condition of one branch, which matches the index; each $ is an argument
	merged bool   // the index has an order for each status: the list merges one branch for each
}

// The listings.
var (
	everyJob      = listing{"jobs_list", `j.visible = true`, false}
	ownedJobs     = listing{"jobs_owner", `j.owner = $ AND j.owner <> '' AND j.visible = true`, false}
	retries       = listing{"jobs_retries", `j.retry_of = $ AND j.retry_of <> '' AND j.visible = true`, false}
	withStatus    = listing{"jobs_status", `j.visible = true AND j.status = $`, true}
	withFailures  = listing{"jobs_failed", `j.visible = true AND j.failed > 0 AND j.status = $`, true}
	ownedStatus   = listing{"jobs_owner_status", `j.owner = $ AND j.owner <> '' AND j.visible = true AND j.status = $`, true}
	ownedFailures = listing{"jobs_owner_failed", `j.owner = $ AND j.owner <> '' AND j.visible = true AND j.failed > 0 AND j.status = $`, true}
)

// listed are the statuses of the jobs in the list. Each merged listing has a branch for each.
var listed = []job.Status{job.Pending, job.Processing, job.Completed, job.Failed, job.Cancelled}

// text returns the statement of the listing. Its arguments are, for each branch, those of the
// condition, the position before the first job and the position after the last, and finally
// the limit.
func (l listing) text(oldest bool) string {
	branches := 1
	if l.merged {
		branches = len(listed)
	}
	// SQLite has no statistics, and would often choose an index of which most jobs must be skipped.
	branch := `SELECT ` + jobColumns + ` FROM jobs j /*sqlite: INDEXED BY ` + l.index + ` */ WHERE ` + l.where + ` AND (j.created_at, j.id) > ($, $) AND (j.created_at, j.id) < ($, $)`
	order := ` ORDER BY created_at DESC, id DESC LIMIT $`
	if oldest {
		order = ` ORDER BY created_at, id LIMIT $`
	}
	return numbered(strings.Repeat(branch+` UNION ALL `, branches-1) + branch + order)
}

// listStatements returns the statements of all listings.
func listStatements() []string {
	var all []string
	for _, l := range []listing{everyJob, ownedJobs, retries, withStatus, withFailures, ownedStatus, ownedFailures} {
		all = append(all, l.text(false), l.text(true))
	}
	return all
}

// listingOf returns the listing that contains the jobs of a query, and the arguments of its
// branches without their positions.
func listingOf(q job.Query, owner string) (l listing, branches [][]any) {
	f := q.Filter
	switch {
	case f.RetryOf != "":
		return retries, [][]any{{f.RetryOf}}
	case len(f.Statuses) == 0 && !f.FailedImages && owner == "":
		return everyJob, [][]any{{}}
	case len(f.Statuses) == 0 && !f.FailedImages:
		return ownedJobs, [][]any{{owner}}
	case f.FailedImages && owner == "":
		l = withFailures
	case f.FailedImages:
		l = ownedFailures
	case owner == "":
		l = withStatus
	default:
		l = ownedStatus
	}
	for i := range listed {
		var branch []any
		if owner != "" {
			branch = append(branch, owner)
		}
		status := listed[i]
		if len(f.Statuses) > 0 {
			status = "" // no job has it
			if i < len(f.Statuses) {
				status = f.Statuses[i]
			}
		}
		branches = append(branches, append(branch, status))
	}
	return l, branches
}

// position is a position in an index of the list.
type position struct {
	createdAt int64
	id        string
}

func positionOf(c job.Cursor) position { return position{micros(c.CreatedAt), c.ID} }

func (p position) compare(o position) int {
	return cmp.Or(cmp.Compare(p.createdAt, o.createdAt), cmp.Compare(p.id, o.id))
}

// span returns the positions before the first and after the last job of a query, in the order
// of their creation.
func span(q job.Query) (from, to position) {
	to = position{math.MaxInt64, ""}
	if !q.Filter.CreatedFrom.IsZero() {
		from = position{micros(q.Filter.CreatedFrom), ""} // every ID is after ""
	}
	if !q.Filter.CreatedBefore.IsZero() {
		to = position{micros(q.Filter.CreatedBefore), ""}
	}
	if at := positionOf(q.After); q.After.ID != "" && q.Oldest && at.compare(from) > 0 {
		from = at
	} else if q.After.ID != "" && !q.Oldest && at.compare(to) < 0 {
		to = at
	}
	return from, to
}

// examineAtOnce is the number of jobs that are read at a time if not all of them may pass the
// filter.
const examineAtOnce = 256

// List returns a page of the jobs that the viewer may see and that pass the filter. It returns
// fewer jobs than the limit at the end of the list and where it has examined q.Examine jobs.
// Jobs that are created or deleted between two pages neither repeat nor hide others.
func (s *Store) List(ctx context.Context, q job.Query) (page job.Page, err error) {
	defer wrap(&err, "list jobs")
	owner := q.Filter.Owner
	if !q.Viewer.All {
		if q.Viewer.Owner == "" || owner != "" && owner != q.Viewer.Owner {
			return page, nil
		}
		owner = q.Viewer.Owner
	}
	q.Filter.Owner = owner // for the jobs of a listing without an owner
	q.Limit, q.Examine = max(q.Limit, 0), min(cmp.Or(q.Examine, job.MaxExamined), job.MaxExamined)
	err = s.read(ctx, func(ctx context.Context, x *session) error {
		page = job.Page{}
		found, err := x.list(ctx, q, owner, &page)
		if err == nil && !q.Summary {
			err = x.images(ctx, found)
		}
		page.Jobs = jobs(found)
		return err
	})
	return page, err
}

// list returns the jobs of a page without their images, and sets the rest of the page.
func (x *session) list(ctx context.Context, q job.Query, owner string, page *job.Page) (found []*row, err error) {
	l, branches := listingOf(q, owner)
	query, at := l.text(q.Oldest), q.After
	for page.Examined < q.Examine {
		from, to := span(q)
		var args []any
		for _, branch := range branches {
			args = append(append(args, branch...), from.createdAt, from.id, to.createdAt, to.id)
		}
		n := q.Limit - len(found) + 1 // one more shows whether another page follows
		if l == retries {
			n = max(n, examineAtOnce)
		}
		n = min(n, q.Examine-page.Examined)
		var rows []*row
		if err := x.run(ctx, into(&rows, readJob, query, append(args, n)...)); err != nil {
			return nil, err
		}
		for _, r := range rows {
			passes := q.Filter.Selects(&r.Job)
			if passes && len(found) == q.Limit {
				page.Next = at
				return found, nil
			}
			page.Examined++
			at = job.Cursor{CreatedAt: r.CreatedAt, ID: r.ID}
			if passes {
				found = append(found, r)
			}
		}
		if len(rows) < n {
			return found, nil
		}
		q.After = at
	}
	page.Next = at
	return found, nil
}
