package sqlstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// database is a pool of connections with its prepared statements.
type database struct {
	pool       *sql.DB
	statements map[string]*sql.Stmt // by the text before translation; not modified after prepare
}

func (d *database) prepare(ctx context.Context, queries ...string) error {
	d.statements = make(map[string]*sql.Stmt, len(queries))
	for _, q := range queries {
		stmt, err := d.pool.PrepareContext(ctx, sqliteText(q)) //nolint:sqlclosecheck // close does it.
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
func (d *database) begin(ctx context.Context, opts *sql.TxOptions) (*session, *sqliteTx, error) {
	tx, err := d.pool.BeginTx(ctx, opts)
	if err != nil {
		return nil, nil, err
	}
	t := &sqliteTx{Tx: tx, db: d, bound: make(map[string]*sql.Stmt)}
	return &session{tx: t}, t, nil
}

// sqliteTx is a transaction of SQLite.
type sqliteTx struct {
	*sql.Tx
	db    *database
	bound map[string]*sql.Stmt // statements used so far, by text; the transaction closes them
}

// statement returns a statement for use in the transaction. It prepares statements that the
// database has not prepared.
func (t *sqliteTx) statement(ctx context.Context, query string) (stmt *sql.Stmt, err error) {
	if stmt, ok := t.bound[query]; ok {
		return stmt, nil
	}
	if prepared, ok := t.db.statements[query]; ok {
		stmt = t.StmtContext(ctx, prepared)
	} else if stmt, err = t.PrepareContext(ctx, query); err != nil {
		return nil, err
	}
	t.bound[query] = stmt
	return stmt, nil
}

func (t *sqliteTx) run(ctx context.Context, list ...*statement) error {
	for _, s := range list {
		stmt, err := t.statement(ctx, s.query) //nolint:sqlclosecheck // The transaction closes it.
		if err != nil {
			return err
		}
		for i, arg := range s.args {
			if list, ok := arg.([]int64); ok {
				text, err := json.Marshal(list)
				if err != nil {
					return err
				}
				s.args[i] = string(text)
			}
		}
		if s.row != nil {
			if err := s.scan(stmt.QueryContext(ctx, s.args...)); err != nil {
				return err
			}
			continue
		}
		res, err := stmt.ExecContext(ctx, s.args...)
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return err
		}
		s.count = int(n)
	}
	return nil
}

// scan reads all rows and closes them, so that no read stays open while the caller works: an
// open read would keep the write-ahead log from shrinking.
func (s *statement) scan(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	defer rows.Close() // Err below reports the error.
	scan := rows.Scan
	for rows.Next() {
		s.count++
		if err := s.row(scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

var insertImage = "INSERT INTO images (" + strings.Join(insertColumns, ", ") + ") VALUES (" +
	strings.TrimSuffix(strings.Repeat("?, ", len(insertColumns)), ", ") + ")"

func (t *sqliteTx) insert(ctx context.Context, rows [][]any, _ int64) error {
	for _, row := range rows {
		if err := t.run(ctx, &statement{query: insertImage, args: row}); err != nil {
			return err
		}
	}
	return nil
}

func (t *sqliteTx) script(ctx context.Context, text string) error {
	_, err := t.ExecContext(ctx, text)
	return err
}
