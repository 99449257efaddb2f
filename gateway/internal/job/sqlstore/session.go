package sqlstore

import (
	"context"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// statement is one statement of a transaction.
type statement struct {
	query string // as in statements.go: the transaction translates it
	args  []any
	row   func(scan scanner) error // called for each row; nil if the statement returns none
	count int                      // rows changed or returned, set after the run
}

// scanner reads the current row, as the Scan of sql.Rows does.
type scanner func(dest ...any) error

// tx is a transaction of a driver.
type tx interface {
	// run runs statements in order, in one round trip if that is cheaper.
	run(ctx context.Context, list ...*statement) error
	// insert inserts the rows, which have the values of insertColumns, into images. clock is
	// the database's clock, as returned by the previous statement.
	insert(ctx context.Context, rows [][]any, clock int64) error
	// script runs the statements of a migration.
	script(ctx context.Context, text string) error
}

// session is one transaction and the changes that it has made so far.
type session struct {
	tx
	changed bool
	delta   job.Counts // change of the counters by the transaction
}

func (x *session) run(ctx context.Context, list ...*statement) error {
	err := x.tx.run(ctx, list...)
	for _, s := range list {
		x.changed = x.changed || s.row == nil && s.count > 0
	}
	return err
}

// exec runs a statement and returns how many rows it changed.
func (x *session) exec(ctx context.Context, query string, args ...any) (int, error) {
	s := &statement{query: query, args: args}
	err := x.run(ctx, s)
	return s.count, err
}

// one returns the scan of the only row of a query. The scan fails with job.ErrNotFound if
// there is no row.
func (x *session) one(ctx context.Context, query string, args ...any) scanner {
	return func(dest ...any) error {
		s := &statement{query: query, args: args, row: func(scan scanner) error { return scan(dest...) }}
		err := x.run(ctx, s)
		if err == nil && s.count == 0 {
			return job.ErrNotFound
		}
		return err
	}
}

// into returns a query that reads its rows and appends them to the list.
func into[T any](list *[]T, read func(scanner) (T, error), query string, args ...any) *statement {
	return &statement{query: query, args: args, row: func(scan scanner) error {
		one, err := read(scan)
		*list = append(*list, one)
		return err
	}}
}
