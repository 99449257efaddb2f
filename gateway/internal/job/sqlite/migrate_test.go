package sqlite

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/jobtest"
)

// first is the migration that the first release made its databases with.
const first = "migrations/2026-11-23_jobs.sql"

// TestMigrate opens a database as the first release has left it, with a job
// under way, one that has ended, one that is received and one that is being deleted.
func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "jobs.db")
	pool, err := openPool(path, 1, "_journal_mode=WAL", "_foreign_keys=1")
	ok(t, err)
	script, err := migrations.ReadFile(first)
	ok(t, err)
	for _, statement := range []string{
		string(script),
		`CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT`,
		`INSERT INTO migrations VALUES ('` + first + `', 1)`,
		`INSERT INTO store (one, id) VALUES (1, 'old store')`,
		`INSERT INTO jobs VALUES (1, 'open', 'processing', 1, 2, 1, 0, 2, 1000000, 2000000, 0, 'gone', 0, 9000000, 1, 0)`,
		`INSERT INTO jobs VALUES (2, 'ended', 'failed', 1, 1, 0, 1, 2, 3000000, 4000000, 4000000, 'gone', 0, 9000000, 0, 0)`,
		`INSERT INTO jobs VALUES (3, 'received', 'receiving', 0, 0, 0, 0, 0, 0, 0, 0, 'gone', 1, 9000000, 1, 0)`,
		`INSERT INTO jobs VALUES (4, 'swept', 'failed', 0, 0, 0, 0, 2, 3000000, 4000000, 4000000, 'gone', 0, 9000000, 0, 1)`,
		`INSERT INTO images VALUES (1, 0, 't0', 'a.jpg', 'a.jpg', '', 'completed', 't0/a.jpg', 'image/jpeg', 7, 'ab', 't0/a.jpg', '', '', 0, 1000000, 2000000, 2, 0, 1)`,
		`INSERT INTO images VALUES (1, 1, 't1', 'b.jpg', 'b.jpg', 'https://example.com/b.jpg', 'pending', '', '', 0, '', '', '', '', 0, 0, 0, 1, 0, 0)`,
		`INSERT INTO images VALUES (2, 0, 't2', 'c.jpg', 'c.jpg', '', 'failed', '', '', 0, '', '', 'Damaged image', 'damaged_image', 0, 3000000, 4000000, 2, 0, 0)`,
	} {
		_, err := pool.ExecContext(t.Context(), statement)
		ok(t, err)
	}
	ok(t, pool.Close())

	s, err := Open(t.Context(), path, quiet)
	ok(t, err)
	defer func() { ok(t, s.Close()) }()
	if s.ID() != "old store" {
		t.Errorf("the store is now called %s", s.ID())
	}
	list, err := s.List(t.Context(), job.Everybody, job.Cursor{}, 9)
	ok(t, err)
	if len(list) != 2 || list[0].ID != "ended" || list[1].ID != "open" || len(list[1].Images) != 2 || list[0].RetryOf != "" || list[0].Fingerprint != "" {
		t.Fatalf("the jobs are now %+v", list)
	}
	jobtest.GoesOn(t, s)
	now := time.Unix(10, 0)
	ok(t, s.Reserve(t.Context(), "new", job.Lease{Owner: "a", Epoch: 1, Until: now}, job.Key{Name: "k"}))
	if j, err := s.Keyed(t.Context(), job.Key{Name: "k"}); err != nil || j.ID != "new" {
		t.Errorf("the key leads to %+v, %v", j, err)
	}
}

// TestNewerVersion goes on with a database to which a newer version has added something,
// and refuses one that it has changed.
func TestNewerVersion(t *testing.T) {
	s := openStore(t, logLimit)
	for _, statement := range []string{
		`ALTER TABLE jobs ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'`, `CREATE TABLE moods (name TEXT PRIMARY KEY) STRICT`,
		`INSERT INTO migrations VALUES ('migrations/2999-01-01_telepathy.sql', 1)`,
	} {
		_, err := s.writer.pool.ExecContext(t.Context(), statement)
		ok(t, err)
	}
	ok(t, s.Close())
	s, err := Open(t.Context(), s.path, quiet)
	ok(t, err)
	ok(t, s.Create(t.Context(), newJob("old", 2)))
	if j, err := s.Get(t.Context(), "old"); err != nil || len(j.Images) != 2 {
		t.Errorf("on a newer database a job is %+v, %v", j, err)
	}
	_, err = s.writer.pool.ExecContext(t.Context(), `INSERT INTO migrations VALUES ('migrations/2999-01-02_mindreading.breaking.sql', 1)`)
	ok(t, err)
	ok(t, s.Close())
	_, err = Open(t.Context(), s.path, quiet)
	if err == nil || !strings.Contains(err.Error(), "newer version") || !strings.Contains(err.Error(), "mindreading") {
		t.Errorf("opened a newer database: %v", err)
	}
}

// TestMigrationsAreAdditive holds, of each migration, that what was there before is there
// after it, and that whoever does not know what is new can still write.
func TestMigrationsAreAdditive(t *testing.T) {
	pool, err := openPool(filepath.Join(t.TempDir(), "jobs.db"), 1)
	ok(t, err)
	defer func() { ok(t, pool.Close()) }()
	columns := func() map[string]string { // each with its type, and whether it need not be given
		rows, err := pool.QueryContext(t.Context(), `SELECT t.name || '.' || c.name, c.type || iif(c."notnull" AND c.dflt_value IS NULL AND NOT c.pk, '', ' optional')
			FROM pragma_table_list AS t, pragma_table_info(t.name) AS c WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite_%'`)
		type column struct{ name, kind string }
		list, err := collect(rows, err, func(scan scanner) (c column, err error) {
			err = scan(&c.name, &c.kind)
			return c, err
		})
		ok(t, err)
		found := map[string]string{}
		for _, c := range list {
			found[c.name] = c.kind
		}
		return found
	}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	ok(t, err)
	slices.Sort(names)
	for n, name := range names {
		before := columns()
		script, err := migrations.ReadFile(name)
		ok(t, err)
		_, err = pool.ExecContext(t.Context(), string(script))
		ok(t, err)
		after := columns()
		if n == 0 || strings.HasSuffix(name, breaking) {
			continue
		}
		for column, kind := range before {
			if after[column] != kind {
				t.Errorf("%s makes %s, which was %s, %q", name, column, kind, after[column])
			}
		}
		for column, kind := range after {
			table, _, _ := strings.Cut(column, ".")
			if _, old := before[column]; !old && !strings.HasSuffix(kind, " optional") && hasTable(before, table) {
				t.Errorf("%s adds %s, which an older gateway would have to write", name, column)
			}
		}
	}
	if len(columns()) < 20 {
		t.Errorf("the columns are %v", columns())
	}
}

func hasTable(columns map[string]string, table string) bool {
	for column := range columns {
		if strings.HasPrefix(column, table+".") {
			return true
		}
	}
	return false
}
