package sqlstore

import (
	"context"
	"slices"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// merge reads the ranges of a listing in the order of the list.
type merge struct {
	x         *session
	query     string
	oldest    bool
	batch     int // maximum number of jobs that are read from a range at a time
	filter    job.Filter
	filtered  bool // some jobs may not pass the filter
	left      int  // number of jobs that may still be examined
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

// examineAtOnce is the maximum number of jobs that are read at a time if not all of them may
// pass the filter.
const examineAtOnce = 256

func newMerge(x *session, q job.Query) *merge {
	l, ranges := listingOf(q.Filter)
	m := &merge{x: x, query: l.text(q.Oldest), oldest: q.Oldest, filter: q.Filter, batch: q.Limit/len(ranges) + 1, left: max(q.Examine, len(ranges))}
	switch l {
	case retries:
		m.filtered = len(q.Filter.Statuses) > 0 || q.Filter.FailedImages || q.Filter.Owner != "" || q.Filter.Uncaptioned || q.Filter.Upload != ""
	case uploads:
		m.filtered = len(q.Filter.Statuses) > 0 || q.Filter.FailedImages || q.Filter.Owner != "" || q.Filter.Uncaptioned
	case uncaptioned, ownedUncaptioned:
		m.filtered = len(q.Filter.Statuses) > 0 || q.Filter.FailedImages
	}
	m.filtered = m.filtered || q.Filter.Search != ""
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
	m.dropEnded()
}

// dropEnded removes the ranges without further jobs.
func (m *merge) dropEnded() {
	m.ranges = slices.DeleteFunc(m.ranges, func(r *jobRange) bool { return r.ended && len(r.read) == 0 })
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

// fill reads the next jobs of the ranges from which all jobs were returned.
func (m *merge) fill(ctx context.Context, wanted int) error {
	var empty []*jobRange
	for _, r := range m.ranges {
		if len(r.read) == 0 {
			empty = append(empty, r)
		}
	}
	if len(empty) == 0 {
		return nil
	}
	if m.exhausted = m.left < len(empty); m.exhausted {
		return nil
	}
	n := min(m.batch, m.left/len(empty))
	if m.filtered {
		m.batch = min(2*m.batch, max(m.batch, examineAtOnce))
	} else {
		n = min(n, wanted)
	}
	if m.filter.Search != "" {
		n = min(n, searchAtOnce)
	}
	share := m.left / len(empty)
	reads := make([]*statement, len(empty))
	for i, r := range empty {
		args := append(slices.Clone(r.args), r.from.createdAt, r.from.id, r.to.createdAt, r.to.id, n)
		reads[i] = into(&r.read, readJob, m.query, args...)
	}
	if err := m.x.run(ctx, reads...); err != nil {
		return err
	}
	for _, r := range empty {
		r.ended = len(r.read) < n
		cost := len(r.read)
		if m.filter.Search != "" {
			var kept int
			kept, cost = affordable(r.read, share)
			r.read, r.ended = r.read[:kept], r.ended && kept == len(r.read)
			if err := m.x.search(ctx, m.filter, r.read); err != nil {
				return err
			}
		}
		m.examined, m.left = m.examined+cost, m.left-cost
		switch last := len(r.read) - 1; {
		case last < 0:
		case m.oldest:
			r.from = r.read[last].position()
		default:
			r.to = r.read[last].position()
		}
	}
	m.dropEnded()
	return nil
}
