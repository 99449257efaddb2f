package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"
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

// migrate brings the database to this version in one transaction. One that a newer
// version has added to is taken as it is, and one that a newer version has changed
// so that this code would misunderstand it is refused.
func migrate(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(names)

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin migration: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // Without effect after the commit.

	_, err = tx.ExecContext(ctx,
		`CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT`)
	if err != nil {
		return fmt.Errorf("create table of migrations: %w", err)
	}
	applied, err := appliedMigrations(ctx, tx)
	if err != nil {
		return fmt.Errorf("read applied migrations: %w", err)
	}
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
		log.InfoContext(ctx, "database migrated", slog.String("migration", name))
	}
	if err := nameStore(ctx, tx); err != nil {
		return fmt.Errorf("name the store: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit migration: %w", err)
	}
	return nil
}

func appliedMigrations(ctx context.Context, tx *sql.Tx) ([]string, error) {
	rows, err := tx.QueryContext(ctx, `SELECT name FROM migrations ORDER BY name`)
	return collect(rows, err, func(scan scanner) (string, error) {
		var name string
		err := scan(&name)
		return name, err
	})
}

func apply(ctx context.Context, tx *sql.Tx, name string) error {
	script, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, string(script)); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO migrations (name, applied_at) VALUES (?, ?)`, name, micros(time.Now()))
	return err
}

// nameStore gives a new store its random name.
func nameStore(ctx context.Context, tx *sql.Tx) error {
	var id [8]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx,
		`INSERT INTO store (one, id) VALUES (1, ?) ON CONFLICT (one) DO NOTHING`, hex.EncodeToString(id[:]))
	return err
}
