package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// Bounds of every transaction.
const (
	writeTime = 10 * time.Second // from its connection to the answer of the commit
	readTime  = 5 * time.Second
	waitTime  = 10 * time.Second // for a free connection
	attempts  = 4                // of one transaction
)

// postgresTx is a transaction of PostgreSQL.
type postgresTx struct {
	pgx.Tx
	engine *postgresEngine
}

// run sends several statements in one round trip.
func (t *postgresTx) run(ctx context.Context, list ...*statement) error {
	if len(list) == 1 {
		rows, err := t.Query(ctx, t.translate(list[0]), list[0].args...)
		return read(rows, err, list[0])
	}
	var b pgx.Batch
	for _, s := range list {
		b.Queue(t.translate(s), s.args...)
	}
	results := t.SendBatch(ctx, &b)
	for _, s := range list {
		rows, err := results.Query()
		if err := read(rows, err, s); err != nil {
			_ = results.Close() // It reports the same error.
			return err
		}
	}
	return results.Close()
}

// translate returns the statement as this engine sends it, and makes its texts storable.
func (t *postgresTx) translate(s *statement) string {
	storable(s.args)
	if query, ok := t.engine.statements[s.query]; ok {
		return query
	}
	return s.query
}

// read reads the rows of a statement.
func read(rows pgx.Rows, err error, s *statement) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := s.row(rows.Scan); err != nil {
			return err
		}
	}
	rows.Close()
	s.count = int(rows.CommandTag().RowsAffected())
	return rows.Err()
}

// script sends the whole text at once, which PostgreSQL takes without arguments only.
func (t *postgresTx) script(ctx context.Context, text string) error {
	_, err := t.Conn().PgConn().Exec(ctx, text).ReadAll()
	return err
}

// insert copies the rows, which are left to this gateway's relay for some time.
func (t *postgresTx) insert(ctx context.Context, rows [][]any, clock int64) error {
	for i := range rows {
		rows[i] = append(storable(rows[i]), t.engine.relay, clock+relayTime.Microseconds())
	}
	_, err := t.CopyFrom(ctx, pgx.Identifier{"images"}, append(insertColumns, "relay", "relay_until"), pgx.CopyFromRows(rows))
	return err
}

// storable makes texts storable: PostgreSQL takes neither the character 0 nor what is no
// UTF-8. Ids and keys are storable as they are, so that an untrusted client's id that is
// not names no job.
func storable(args []any) []any {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
		}
	}
	return args
}

// write runs do in a transaction, in the lane of the job if there is one.
func (e *postgresEngine) write(ctx context.Context, id string, do work) error {
	if id != "" {
		leave, err := e.lanes.enter(ctx, id)
		if err != nil {
			return err
		}
		defer leave()
	}
	select {
	case e.writers <- struct{}{}:
		defer func() { <-e.writers }()
	case <-ctx.Done():
		return ctx.Err()
	case <-e.closing:
		return errClosed
	}
	return e.repeat(ctx, func() error { return e.writeOnce(ctx, do) })
}

// repeat runs a transaction until it was not in the way of another nor on a
// connection that had broken, a few times at most.
func (e *postgresEngine) repeat(ctx context.Context, once func() error) error {
	for n := 1; ; n++ {
		err := once()
		if err == nil || n == attempts || !repeatable(err) || closed(e.closing) {
			return err
		}
		wait := time.NewTimer(rand.N(time.Duration(n) * 10 * time.Millisecond))
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		}
	}
}

// acquire gets a connection. ctx bounds the wait, and nothing after that: a
// transaction that has begun is bounded by itself, so that no client that goes
// away costs a connection, nor leaves open whether its job exists.
func (e *postgresEngine) acquire(ctx context.Context, limit time.Duration) (*pgxpool.Conn, context.Context, context.CancelFunc, error) {
	waiting, cancel := context.WithTimeout(ctx, waitTime)
	conn, err := e.pool.Acquire(waiting)
	cancel()
	switch {
	case err == nil:
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		return conn, own, cancel, nil
	case ctx.Err() != nil:
		return nil, nil, nil, ctx.Err()
	case closed(e.closing):
		return nil, nil, nil, errClosed
	}
	return nil, nil, nil, unavailable(fmt.Errorf("connect: %w", err))
}

func (e *postgresEngine) writeOnce(ctx context.Context, do work) error {
	conn, ctx, cancel, err := e.acquire(ctx, writeTime)
	if err != nil {
		return err
	}
	defer cancel()
	defer conn.Release() // It closes one whose transaction has not ended.
	if err := e.doubts.settle(ctx, conn); err != nil {
		return broken(conn, err)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return broken(conn, fmt.Errorf("begin: %w", err))
	}
	x := &session{tx: &postgresTx{tx, e}}
	if err := do(ctx, x); err != nil {
		return errors.Join(broken(conn, err), undo(ctx, conn, tx))
	}
	if !x.changed {
		return undo(ctx, conn, tx)
	}
	if x.delta != (job.Counts{}) {
		if _, err := x.exec(ctx, addFigures, x.delta.Jobs, x.delta.OpenImages, x.delta.Unsent); err != nil {
			return errors.Join(broken(conn, fmt.Errorf("add to the figures: %w", err)), undo(ctx, conn, tx))
		}
	}
	if err := tx.Commit(ctx); err != nil {
		err = fmt.Errorf("commit: %w", err)
		if !refused(err) {
			e.doubts.add(conn)
			return unavailable(err) // Not to be tried again: it may have been made.
		}
		return err
	}
	return nil
}

// undo ends a transaction of which nothing must remain. An error on a closed connection is
// ignored: closing the connection has already rolled back.
func undo(ctx context.Context, conn *pgxpool.Conn, tx pgx.Tx) error {
	if err := tx.Rollback(ctx); err != nil && !conn.Conn().IsClosed() {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}

// broken marks the error of a call that has cost its connection.
func broken(conn *pgxpool.Conn, err error) error {
	if err != nil && conn.Conn().IsClosed() {
		return fmt.Errorf("%w: %w", errBroken, err)
	}
	return err
}

// read runs the queries of do in one snapshot.
func (e *postgresEngine) read(ctx context.Context, do work) error {
	return e.repeat(ctx, func() error {
		conn, ctx, cancel, err := e.acquire(ctx, readTime)
		if err != nil {
			return err
		}
		defer cancel()
		defer conn.Release()
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
		if err != nil {
			return broken(conn, fmt.Errorf("begin: %w", err))
		}
		err = broken(conn, do(ctx, &session{tx: &postgresTx{tx, e}}))
		return errors.Join(err, undo(ctx, conn, tx))
	})
}
