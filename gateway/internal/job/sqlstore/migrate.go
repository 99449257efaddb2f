package sqlstore

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"
)

// The migrations are named by date and topic and run in that order. A released migration is
// never changed. Migrations are additive: existing columns stay and keep their meaning, and new
// ones have a default, so that a gateway of an older release works on the result, during an
// upgrade or after a rollback. The name of a migration that cannot be additive ends in
// [breaking].
//
//go:embed migrations
var migrations embed.FS

// breaking is the name suffix of a migration on whose result older releases must not work.
const breaking = ".breaking.sql"

// The table of applied migrations. It exists already in the transaction.
const (
	selectApplied = `SELECT name FROM migrations`
	insertApplied = `INSERT INTO migrations (name, applied_at) VALUES ($1, $2)`
	nameStore     = `INSERT INTO store (one, id) VALUES (1, $1)`
)

// migrate migrates the database to this version in the transaction. It does not change a database
// to which a newer version has made additions, and rejects a database that a newer version
// has changed incompatibly. folder is the folder of the dialect.
func (x *session) migrate(ctx context.Context, folder string, log *slog.Logger) error {
	files, err := fs.Glob(migrations, path.Join("migrations", folder, "*.sql"))
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(files)
	var applied, known []string
	err = x.run(ctx, into(&applied, func(scan scanner) (name string, err error) {
		err = scan(&name)
		return name, err
	}, selectApplied))
	if err != nil {
		return fmt.Errorf("read applied migrations: %w", err)
	}
	for _, file := range files {
		known = append(known, migrationName(file))
	}
	for _, name := range applied {
		if !slices.Contains(known, name) && strings.HasSuffix(name, breaking) {
			return fmt.Errorf("database belongs to a newer version of the gateway: it has the migration %s", name)
		}
	}
	for i, name := range known {
		if slices.Contains(applied, name) {
			continue
		}
		script, err := migrations.ReadFile(files[i])
		if err == nil {
			err = x.script(ctx, string(script))
		}
		if err == nil {
			_, err = x.exec(ctx, insertApplied, name, micros(time.Now()))
		}
		if err != nil {
			return fmt.Errorf("apply %s: %w", name, err)
		}
		log.InfoContext(ctx, "database migrated", slog.String("migration", name))
	}
	if len(applied) > 0 {
		return nil
	}
	if _, err := x.exec(ctx, nameStore, randomName()); err != nil {
		return fmt.Errorf("name the store: %w", err)
	}
	return nil
}

// migrationName returns the name under which the database records a migration.
func migrationName(file string) string { return "migrations/" + path.Base(file) }

// randomName returns a name for a store.
func randomName() string {
	var id [8]byte
	rand.Read(id[:]) // documented to never fail
	return hex.EncodeToString(id[:])
}
