package sqlstore

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/jobtest"
)

// first is the migration with which the first release created its databases.
const first = "2026-11-23_jobs.sql"

// firstRelease creates a database as the first release left it, with a job in progress, one
// that has ended, one that is being received and one that is being deleted.
func firstRelease(t *testing.T, d testDatabase) {
	t.Helper()
	script, err := migrations.ReadFile("migrations/" + d.dialect + "/" + first)
	ok(t, err)
	d.execute(t, string(script), map[string]string{
		"sqlite":   `CREATE TABLE migrations (name TEXT PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT`,
		"postgres": `CREATE TABLE migrations (name text COLLATE "C" PRIMARY KEY, applied_at bigint NOT NULL)`,
	}[d.dialect],
		`INSERT INTO migrations VALUES ('migrations/`+first+`', 1)`,
		`INSERT INTO store (one, id) VALUES (1, 'old store')`,
		oldJob(d, "'open', 'processing', true, 2, 1, 0, 2, 1000000, 2000000, 0, 'gone', 1, 9000000, 1, false"),
		oldJob(d, "'ended', 'failed', true, 1, 0, 1, 2, 3000000, 4000000, 4000000, 'gone', 1, 9000000, 0, false"),
		oldJob(d, "'received', 'receiving', false, 0, 0, 0, 0, 0, 0, 0, 'gone', 1, 9000000, 1, false"),
		oldJob(d, "'swept', 'failed', false, 0, 0, 0, 2, 3000000, 4000000, 4000000, 'gone', 1, 9000000, 0, true"),
		oldImage(d, `1, 0, 't0', 'a.jpg', 'a.jpg', '', 'completed', 't0/a.jpg', 'image/jpeg', 7, 'ab', 't0/a.jpg', '', '', false, 1000000, 2000000, 2, false, 1`),
		oldImage(d, `1, 1, 't1', 'b.jpg', 'b.jpg', 'https://example.com/b.jpg', 'pending', '', '', 0, '', '', '', '', false, 0, 0, 1, false, 0`),
		oldImage(d, `2, 0, 't2', 'c.jpg', 'c.jpg', '', 'failed', '', '', 0, '', '', 'Damaged image', 'damaged_image', false, 3000000, 4000000, 2, false, 0`),
	)
	if d.dialect == "postgres" {
		d.execute(t, `UPDATE figures SET jobs = 2, open_images = 1 WHERE shard = 0`)
	}
}

// oldJob returns the statement with which the first release writes a job.
func oldJob(d testDatabase, values string) string {
	columns := `id, status, visible, total, completed, failed, revision, created_at, updated_at, completed_at,
		lease_owner, lease_epoch, lease_until, work, originals_gone`
	if d.dialect == "postgres" {
		columns += ", retry_of, fingerprint, idempotency_scope, idempotency_key"
		values += ", '', '', '', ''"
	}
	return "INSERT INTO jobs (" + columns + ") VALUES (" + values + ")"
}

func oldImage(d testDatabase, values string) string {
	if d.dialect == "postgres" {
		values += ", '', 0"
	}
	return "INSERT INTO images VALUES (" + values + ")"
}

// TestMigrate opens a database of the first release, which continues to write to it.
func TestMigrate(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d testDatabase) {
		firstRelease(t, d)
		s := d.mustOpen(t)
		if s.ID() != "old store" {
			t.Errorf("the store is now named %s", s.ID())
		}
		d.execute(t, oldJob(d, "'later', 'failed', true, 1, 0, 1, 2, 5000000, 6000000, 6000000, 'gone', 1, 9000000, 0, false"))
		page, err := s.List(t.Context(), job.Query{Viewer: job.Everybody, Limit: 9})
		ok(t, err)
		list := page.Jobs
		if len(list) != 3 || list[0].ID != "later" || list[1].ID != "ended" || list[2].ID != "open" || len(list[2].Images) != 2 ||
			list[0].Owner != "" || list[0].RetryOf != "" || list[0].Metadata != nil || list[0].Warnings != nil || list[2].Images[0].CustomID != "" || list[0].Fingerprint != "" {
			t.Fatalf("the jobs are now %+v", list)
		}
		jobtest.AfterMigration(t, s)
		ok(t, s.Reserve(t.Context(), "new", job.Lease{Owner: "a", Epoch: 1, Until: time.Unix(10, 0)}, job.Key{Name: "k"}))
		if j, err := s.Keyed(t.Context(), job.Key{Name: "k"}); err != nil || j.ID != "new" {
			t.Errorf("the job of the key is %+v, %v", j, err)
		}
	})
}

// TestNewerVersion verifies that a database with compatible additions of a newer version is
// opened, and that one with incompatible changes is rejected.
func TestNewerVersion(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d testDatabase) {
		s := d.mustOpen(t)
		ok(t, s.Close())
		d.execute(t, `ALTER TABLE jobs ADD COLUMN mood text NOT NULL DEFAULT 'calm'`, `CREATE TABLE moods (name text PRIMARY KEY)`,
			`INSERT INTO migrations VALUES ('migrations/2999-01-01_telepathy.sql', 1)`)
		s = d.mustOpen(t)
		ok(t, s.Create(t.Context(), newJob("old", 2)))
		if j, err := s.Get(t.Context(), "old"); err != nil || len(j.Images) != 2 {
			t.Errorf("on a newer database a job is %+v, %v", j, err)
		}
		ok(t, s.Close())
		d.execute(t, `INSERT INTO migrations VALUES ('migrations/2999-01-02_mindreading.breaking.sql', 1)`)
		_, err := d.open(t.Context())
		if err == nil || !strings.Contains(err.Error(), "newer version") || !strings.Contains(err.Error(), "mindreading") {
			t.Errorf("opened a newer database: %v", err)
		}
	})
}

// columnsOf lists the columns of each dialect, each with its type and whether a writer may
// omit it.
var columnsOf = map[string]string{
	"sqlite": `SELECT t.name, c.name, c.type || iif(c."notnull" AND c.dflt_value IS NULL AND NOT c.pk, '', ' optional')
		FROM pragma_table_list AS t, pragma_table_info(t.name) AS c WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite_%'`,
	"postgres": `SELECT table_name, column_name, data_type || CASE
		WHEN is_nullable = 'YES' OR column_default IS NOT NULL OR is_identity = 'YES' THEN ' optional' ELSE '' END
		FROM information_schema.columns WHERE table_schema = current_schema()`,
}

// TestMigrationsAreAdditive verifies for each migration that existing columns stay, and that
// a gateway that does not know the new columns can still write.
func TestMigrationsAreAdditive(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d testDatabase) {
		db := d.connect(t)
		defer db.Close()
		columns := func() map[[2]string]string {
			rows, err := db.QueryContext(t.Context(), columnsOf[d.dialect])
			ok(t, err)
			defer rows.Close()
			found := map[[2]string]string{}
			for rows.Next() {
				var table, column, kind string
				ok(t, rows.Scan(&table, &column, &kind))
				found[[2]string{table, column}] = kind
			}
			ok(t, rows.Err())
			return found
		}
		names, err := fs.Glob(migrations, "migrations/"+d.dialect+"/*.sql")
		ok(t, err)
		slices.Sort(names)
		for n, name := range names {
			before, tables := columns(), map[string]bool{}
			script, err := migrations.ReadFile(name)
			ok(t, err)
			_, err = db.ExecContext(t.Context(), string(script))
			ok(t, err)
			after := columns()
			if n == 0 || strings.HasSuffix(name, breaking) {
				continue
			}
			for column, kind := range before {
				tables[column[0]] = true
				if after[column] != kind {
					t.Errorf("%s changes %s from %s to %q", name, column, kind, after[column])
				}
			}
			for column, kind := range after {
				if _, old := before[column]; !old && tables[column[0]] && !strings.HasSuffix(kind, " optional") {
					t.Errorf("%s adds %s, which an older gateway does not write", name, column)
				}
			}
		}
		if len(columns()) < 20 {
			t.Errorf("the columns are %v", columns())
		}
	})
}

// TestRelease opens a database as release 0.1.0 left it: a file, or the statements of a
// pg_dump without its settings.
func TestRelease(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d testDatabase) {
		if d.dialect == "sqlite" {
			packed, err := os.Open("testdata/0.1.0.db.gz")
			ok(t, err)
			defer packed.Close()
			unpacked, err := gzip.NewReader(packed)
			ok(t, err)
			data, err := io.ReadAll(unpacked)
			ok(t, err)
			ok(t, os.MkdirAll(filepath.Dir(d.address), 0o700))
			ok(t, os.WriteFile(d.address, data, 0o600))
		} else {
			dump, err := os.ReadFile("testdata/0.1.0.sql")
			ok(t, err)
			u, err := url.Parse(d.address)
			ok(t, err)
			d.execute(t, strings.ReplaceAll(string(dump), "public.", u.Query().Get("search_path")+"."))
		}
		jobtest.AfterUpgrade(t, d.mustOpen(t))
	})
}
