package sqlstore

import (
	"context"
	"slices"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// searchAtOnce is the maximum number of jobs that are searched at a time, each with up to 100
// images.
const searchAtOnce = 64

// byID returns the jobs of the first page of a search for an ID, or none if there are none, or
// more than the page may have.
func (x *session) byID(ctx context.Context, q job.Query, page *job.Page) (found []*row, err error) {
	from, to, isID := q.Filter.Search.IDs()
	if !isID || q.After.ID != "" || q.Limit == 0 {
		return nil, nil
	}
	if err := x.run(ctx, into(&found, readJob, selectByID, from, to, q.Limit+1)); err != nil {
		return nil, err
	}
	if len(found) > q.Limit {
		return nil, nil
	}
	page.Examined = len(found)
	found = slices.DeleteFunc(found, func(r *row) bool { return !q.Filter.Selects(&r.Job) })
	slices.SortFunc(found, func(a, b *row) int {
		if q.Oldest {
			a, b = b, a
		}
		return b.position().compare(a.position())
	})
	return found, nil
}

// affordable returns how many of the rows may be searched, at least one, and what that costs: 1
// for each job, and 1 for ten of its images.
func affordable(rows []*row, most int) (n, cost int) {
	for _, r := range rows {
		next := 1 + r.Total/10
		if n > 0 && cost+next > most {
			break
		}
		n, cost = n+1, cost+next
	}
	return n, cost
}

// search marks those of the rows that the search of the filter finds. It reads no images of the
// jobs that do not pass the rest of the filter.
func (x *session) search(ctx context.Context, f job.Filter, rows []*row) error {
	var seqs []int64
	bySeq := map[int64]*row{}
	for _, r := range rows {
		if r.found = f.Search.StartsID(r.ID); !r.found && f.Selects(&r.Job) {
			seqs, bySeq[r.seq] = append(seqs, r.seq), r
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	matches := f.Search.Matcher()
	return x.run(ctx, &statement{query: selectNamesOf, args: []any{seqs}, row: func(scan scanner) error {
		var seq int64
		var name, customID string
		err := scan(&seq, &name, &customID)
		if r := bySeq[seq]; err == nil && !r.found {
			r.found = matches(name, customID)
		}
		return err
	}})
}
