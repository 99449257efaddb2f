package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// database is a pool of connections with its prepared statements.
type database struct {
	pool       *sql.DB
	statements map[string]*sql.Stmt // by their text; not changed after prepare
}

func (d *database) prepare(ctx context.Context, queries []string) error {
	d.statements = make(map[string]*sql.Stmt, len(queries))
	for _, q := range queries {
		stmt, err := d.pool.PrepareContext(ctx, q) //nolint:sqlclosecheck // close does it.
		if err != nil {
			return fmt.Errorf("prepare %q: %w", q, err)
		}
		d.statements[q] = stmt
	}
	return nil
}

func (d *database) close() error {
	var errs []error
	for _, stmt := range d.statements {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, d.pool.Close())...)
}

// begin starts a transaction. The caller ends it.
func (d *database) begin(ctx context.Context, opts *sql.TxOptions) (*session, error) {
	tx, err := d.pool.BeginTx(ctx, opts)
	if err != nil {
		return nil, err
	}
	return &session{Tx: tx, db: d, bound: make(map[string]statement)}, nil
}

// statement is a prepared statement in one transaction, which closes it.
type statement interface {
	ExecContext(ctx context.Context, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, args ...any) *sql.Row
}

// session is one transaction and what it has changed so far.
type session struct {
	*sql.Tx
	db    *database
	bound map[string]statement // by their text, those used so far

	changed bool
	delta   job.Counts // what the transaction adds to the figures
}

func (x *session) statement(ctx context.Context, query string) (statement, error) {
	if stmt, ok := x.bound[query]; ok {
		return stmt, nil
	}
	prepared, ok := x.db.statements[query]
	if !ok {
		return nil, fmt.Errorf("statement is not prepared: %s", query)
	}
	x.bound[query] = x.StmtContext(ctx, prepared)
	return x.bound[query], nil
}

// exec runs a statement and returns how many rows it changed.
func (x *session) exec(ctx context.Context, query string, args ...any) (int, error) {
	stmt, err := x.statement(ctx, query)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	x.changed = x.changed || n > 0
	return int(n), err
}

// control runs a statement that changes no rows itself.
func (x *session) control(ctx context.Context, query string) error {
	stmt, err := x.statement(ctx, query)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(ctx)
	return err
}

// one runs a query and returns the scan of its first row, which gives
// sql.ErrNoRows when there is none.
func (x *session) one(ctx context.Context, query string, args ...any) scanner {
	stmt, err := x.statement(ctx, query)
	if err != nil {
		return func(...any) error { return err }
	}
	return stmt.QueryRowContext(ctx, args...).Scan
}

// all runs a query whose rows collect reads.
func (x *session) all(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := x.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...) //nolint:sqlclosecheck // collect closes them.
}

// read runs the queries of do in one snapshot.
func (s *Store) read(ctx context.Context, do func(context.Context, *session) error) error {
	x, err := s.reader.begin(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return s.readError(ctx, err)
	}
	err = do(ctx, x)
	if end := x.Rollback(); err == nil && end != nil {
		err = end
	}
	if err != nil {
		return s.readError(ctx, err)
	}
	return nil
}
