package postgres

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// The migrations are named by date and topic and run in that order. None is changed
// once it has been released. They are additive: what was there stays and means the
// same, and what is new has a default, so that a gateway of an older release works on the
// result, in the middle of an upgrade or after it was taken back. One that has to be
// otherwise ends its name in [breaking].
//
//go:embed migrations/*.sql
var migrations embed.FS

// breaking is the end of the name of a migration on whose result older releases must
// not work.
const breaking = ".breaking.sql"

const (
	// migrationLock is the advisory lock that one gateway at a time migrates under.
	migrationLock = 0x696d6167656261 // "imageba"
	// oldest is the first version of PostgreSQL that has what the statements use.
	oldest = 130000
)

// migrate brings the database to this version in one transaction. One that a newer
// version has added to is taken as it is, and one that a newer version has changed
// so that this code would misunderstand it is refused.
func (s *Store) migrate(ctx context.Context) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(names)

	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	// The first statement takes the lock, so that what is read after it is what the
	// gateway before has left. It may wait for that one, and may itself take long.
	applied, err := beginMigration(ctx, tx)
	if err == nil {
		err = s.applyMissing(ctx, tx, names, applied)
	}
	if err != nil {
		if end := tx.Rollback(ctx); end != nil && !errors.Is(end, pgx.ErrTxClosed) && !outage(err) {
			return errors.Join(err, fmt.Errorf("roll back migration: %w", end))
		}
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit migration: %w", err)
	}
	return nil
}

// beginMigration waits for its turn and returns what was applied before.
func beginMigration(ctx context.Context, tx pgx.Tx) ([]string, error) {
	for _, setting := range []string{`SET LOCAL lock_timeout = 0`, `SET LOCAL statement_timeout = 0`} {
		if _, err := tx.Exec(ctx, setting); err != nil {
			return nil, fmt.Errorf("begin migration: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(migrationLock)); err != nil {
		return nil, fmt.Errorf("lock migrations: %w", err)
	}
	var version int
	var known bool
	err := tx.QueryRow(ctx, `SELECT current_setting('server_version_num')::integer, to_regclass('migrations') IS NOT NULL`).
		Scan(&version, &known)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look at the database: %w", err)
	case version < oldest:
		return nil, fmt.Errorf("the server is PostgreSQL %d, too old: want %d or later", version/10000, oldest/10000)
	case !known:
		_, err := tx.Exec(ctx, `CREATE TABLE migrations (name text COLLATE "C" PRIMARY KEY, applied_at bigint NOT NULL)`)
		if err != nil {
			return nil, fmt.Errorf("create table of migrations: %w", err)
		}
		return nil, nil
	}
	rows, err := tx.Query(ctx, `SELECT name FROM migrations ORDER BY name`)
	applied, err := collect(rows, err, func(scan scanner) (name string, err error) {
		err = scan(&name)
		return name, err
	})
	if err != nil {
		return nil, fmt.Errorf("read applied migrations: %w", err)
	}
	return applied, nil
}

func (s *Store) applyMissing(ctx context.Context, tx pgx.Tx, names, applied []string) error {
	for _, name := range applied {
		if !slices.Contains(names, name) && strings.HasSuffix(name, breaking) {
			return fmt.Errorf("the database is of a newer version of the gateway: it has the migration %s", name)
		}
	}
	for _, name := range names {
		if slices.Contains(applied, name) {
			continue
		}
		if err := apply(ctx, tx, name); err != nil {
			return fmt.Errorf("apply %s: %w", name, err)
		}
		s.log.InfoContext(ctx, "database migrated", slog.String("migration", name))
	}
	var id [8]byte
	rand.Read(id[:]) // It never fails, says its documentation.
	if len(applied) > 0 {
		return nil
	}
	if _, err := tx.Exec(ctx, `INSERT INTO store (one, id) VALUES (1, $1)`, hex.EncodeToString(id[:])); err != nil {
		return fmt.Errorf("name the store: %w", err)
	}
	return nil
}

func apply(ctx context.Context, tx pgx.Tx, name string) error {
	script, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	// Without arguments the whole script goes over at once.
	if _, err := tx.Conn().PgConn().Exec(ctx, string(script)).ReadAll(); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO migrations (name, applied_at) VALUES ($1, $2)`, name, micros(time.Now()))
	return err
}
