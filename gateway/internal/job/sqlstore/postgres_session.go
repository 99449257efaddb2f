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

// Limits of every transaction.
const (
	writeTime = 10 * time.Second // from its connection to the response of the commit
	readTime  = 5 * time.Second
	waitTime  = 10 * time.Second // wait for a free connection
	attempts  = 4                // maximum attempts of one transaction
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

// translate returns the statement in this engine's dialect, and makes its texts storable.
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
	scan := rows.Scan
	for rows.Next() {
		if err := s.row(scan); err != nil {
			return err
		}
	}
	rows.Close()
	s.count = int(rows.CommandTag().RowsAffected())
	return rows.Err()
}

// script sends the whole text in one message, which PostgreSQL accepts only without arguments.
func (t *postgresTx) script(ctx context.Context, text string) error {
	_, err := t.Conn().PgConn().Exec(ctx, text).ReadAll()
	return err
}

// insert copies the rows and reserves them for this gateway's relay for some time.
func (t *postgresTx) insert(ctx context.Context, rows [][]any, clock int64) error {
	for i := range rows {
		rows[i] = append(storable(rows[i]), t.engine.relay, clock+relayTime.Microseconds())
	}
	_, err := t.CopyFrom(ctx, pgx.Identifier{"images"}, append(insertColumns, "relay", "relay_until"), pgx.CopyFromRows(rows))
	return err
}

// storable makes texts storable: PostgreSQL accepts neither the character 0 nor invalid
// UTF-8. Valid IDs and keys are storable as they are, so an untrusted client's ID that is not
// storable matches no job.
func storable(args []any) []any {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\ufffd"), "\x00", "\ufffd")
		}
	}
	return args
}

// write runs do in a transaction.
func (e *postgresEngine) write(ctx context.Context, do work) error {
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

// repeat runs a transaction again, a few times at most, if it conflicted with another or its
// connection had broken.
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

// acquire returns a connection. ctx limits only the wait. A started transaction has its own
// time limit, so that a client that disconnects neither costs a connection nor leaves it
// unknown whether its job exists.
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
	defer conn.Release() // Release closes a connection whose transaction has not ended.
	if err := e.doubts.settle(ctx, conn); err != nil {
		return broken(conn, err)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return broken(conn, fmt.Errorf("begin: %w", err))
	}
	x := &session{tx: &postgresTx{tx, e}}
	err = broken(conn, do(ctx, x))
	if err != nil || !x.changed {
		undone := undo(ctx, conn, tx)
		if undone == nil && !postgresOutage(err) {
			undone = confirm(ctx, conn)
		}
		return errors.Join(err, undone)
	}
	if x.delta != (job.Counts{}) {
		if _, err := x.exec(ctx, addCounters, x.delta.Jobs, x.delta.OpenImages, x.delta.Unsent); err != nil {
			return errors.Join(broken(conn, fmt.Errorf("update counters: %w", err)), undo(ctx, conn, tx))
		}
	}
	if err := tx.Commit(ctx); err != nil {
		err = fmt.Errorf("commit: %w", err)
		if !refused(err) {
			e.doubts.add(conn)
			return unavailable(err) // Not repeated, because the commit may have succeeded.
		}
		return err
	}
	return nil
}

// awaitStandby writes a message without readers to the log if there are synchronous standbys. The commit of it waits for
// them like that of a change, and so for all commits before. That of a transaction without a record in the log would not.
const awaitStandby = `SELECT CASE WHEN current_setting('synchronous_standby_names') <> '' THEN pg_logical_emit_message(true, 'imagebatch', '') END`

// confirm waits for the synchronous standbys, if there are any.
func confirm(ctx context.Context, conn *pgxpool.Conn) error {
	if _, err := conn.Exec(ctx, awaitStandby); err != nil {
		return unavailable(broken(conn, fmt.Errorf("wait for the standby: %w", err)))
	}
	return nil
}

func (e *postgresEngine) confirm(ctx context.Context) error {
	conn, ctx, cancel, err := e.acquire(ctx, writeTime)
	if err != nil {
		return err
	}
	defer cancel()
	defer conn.Release()
	return confirm(ctx, conn)
}

// undo rolls back a transaction. An error on a closed connection is ignored: closing the
// connection has already rolled back.
func undo(ctx context.Context, conn *pgxpool.Conn, tx pgx.Tx) error {
	if err := tx.Rollback(ctx); err != nil && !conn.Conn().IsClosed() {
		return fmt.Errorf("roll back: %w", err)
	}
	return nil
}

// broken marks an error whose call has broken the connection.
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
