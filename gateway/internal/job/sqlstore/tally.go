package sqlstore

import (
	"context"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// count returns the statement that counts the jobs of a listing, up to a limit, which is its
// last argument. Without the order, PostgreSQL might read the table instead of the index.
func (l listing) count() string {
	return numbered(`SELECT count(*) FROM (SELECT 1 FROM jobs j /*sqlite: INDEXED BY ` + l.index + ` */ WHERE ` + l.where +
		` ORDER BY j.created_at DESC, j.id DESC LIMIT $) counted`)
}

// countStatements returns the statements that Tally uses.
func countStatements() []string {
	var all []string
	for _, l := range []listing{withStatus, withFailures, uncaptioned, ownedStatus, ownedFailures, ownedUncaptioned} {
		all = append(all, l.count())
	}
	return all
}

// Tally counts the jobs that the viewer may see. It counts each number up to most, so that its
// cost does not grow with the number of jobs; most + 1 stands for more.
func (s *Store) Tally(ctx context.Context, v job.Viewer, most int) (t job.Tally, err error) {
	defer wrap(&err, "tally jobs")
	t = job.Tally{Statuses: map[job.Status]int{}}
	if !v.All && v.Owner == "" {
		return t, nil
	}
	status, failures, missing := withStatus, withFailures, uncaptioned
	var owner []any
	if !v.All {
		status, failures, missing, owner = ownedStatus, ownedFailures, ownedUncaptioned, []any{v.Owner}
	}
	counts := make([]int, 2*len(listed)+1)
	var queries []*statement
	count := func(l listing, args ...any) {
		n := &counts[len(queries)]
		args = append(append(append([]any{}, owner...), args...), most+1)
		queries = append(queries, &statement{query: l.count(), args: args, row: func(scan scanner) error { return scan(n) }})
	}
	for _, s := range listed {
		count(status, s)
	}
	for _, s := range listed {
		count(failures, s)
	}
	count(missing)
	err = s.read(ctx, func(ctx context.Context, x *session) error { return x.run(ctx, queries...) })
	if err != nil {
		return job.Tally{}, err
	}
	for i, s := range listed {
		t.Statuses[s] = counts[i]
		t.FailedImages = min(t.FailedImages+counts[len(listed)+i], most+1)
	}
	t.Uncaptioned = counts[2*len(listed)]
	return t, nil
}
