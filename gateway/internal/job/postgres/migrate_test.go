package postgres

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/jobtest"
)

// first is the migration that the first release made its databases with.
const first = "migrations/2026-11-23_jobs.sql"

// firstRelease makes a schema as the first release has left it, with a job under way,
// one that has ended, one that is received and one that is being deleted.
func firstRelease(t *testing.T) (address string) {
	t.Helper()
	address = schema(t)
	script, err := migrations.ReadFile(first)
	ok(t, err)
	statements := append(strings.Split(string(script), ";\n"), // one at a time, as this connection takes them
		`CREATE TABLE migrations (name text COLLATE "C" PRIMARY KEY, applied_at bigint NOT NULL)`,
		`INSERT INTO migrations VALUES ('`+first+`', 1)`,
		`INSERT INTO store (one, id) VALUES (1, 'old store')`,
		oldJob("'open', 'processing', true, 2, 1, 0, 2, 1000000, 2000000, 0, 'gone', 1, 9000000, 1, false"),
		oldJob("'ended', 'failed', true, 1, 0, 1, 2, 3000000, 4000000, 4000000, 'gone', 1, 9000000, 0, false"),
		oldJob("'received', 'receiving', false, 0, 0, 0, 0, 0, 0, 0, 'gone', 1, 9000000, 1, false"),
		oldJob("'swept', 'failed', false, 0, 0, 0, 2, 3000000, 4000000, 4000000, 'gone', 1, 9000000, 0, true"),
		`INSERT INTO images VALUES (1, 0, 't0', 'a.jpg', 'a.jpg', '', 'completed', 't0/a.jpg', 'image/jpeg', 7, 'ab', 't0/a.jpg', '', '', false, 1000000, 2000000, 2, false, 1, '', 0)`,
		`INSERT INTO images VALUES (1, 1, 't1', 'b.jpg', 'b.jpg', 'https://example.com/b.jpg', 'pending', '', '', 0, '', '', '', '', false, 0, 0, 1, false, 0, '', 0)`,
		`INSERT INTO images VALUES (2, 0, 't2', 'c.jpg', 'c.jpg', '', 'failed', '', '', 0, '', '', 'Damaged image', 'damaged_image', false, 3000000, 4000000, 2, false, 0, '', 0)`,
		`UPDATE figures SET jobs = 2, open_images = 1 WHERE shard = 0`,
	)
	execute(t, address, slices.DeleteFunc(statements, func(s string) bool { return strings.TrimSpace(s) == "" })...)
	return address
}

// oldJob is how the first release writes a job.
func oldJob(values string) string {
	return `INSERT INTO jobs (id, status, visible, total, completed, failed, revision, created_at, updated_at, completed_at,
		lease_owner, lease_epoch, lease_until, work, originals_gone, retry_of, fingerprint, idempotency_scope, idempotency_key)
		VALUES (` + values + `, '', '', '', '')`
}

// TestMigrate opens a database of the first release, which goes on writing to it.
func TestMigrate(t *testing.T) {
	address := firstRelease(t)
	s := open(t, address)
	if s.ID() != "old store" {
		t.Errorf("the store is now called %s", s.ID())
	}
	execute(t, address, oldJob("'later', 'failed', true, 1, 0, 1, 2, 5000000, 6000000, 6000000, 'gone', 1, 9000000, 0, false"))
	list, err := s.List(t.Context(), job.Everybody, job.Cursor{}, 9)
	ok(t, err)
	if len(list) != 3 || list[0].ID != "later" || list[1].ID != "ended" || list[2].ID != "open" || len(list[2].Images) != 2 || list[0].Owner != "" {
		t.Fatalf("the jobs are now %+v", list)
	}
	jobtest.GoesOn(t, s)
}

// TestNewerVersion goes on with a database to which a newer version has added something,
// and refuses one that it has changed.
func TestNewerVersion(t *testing.T) {
	address := schema(t)
	ok(t, open(t, address).Close())
	execute(t, address, `ALTER TABLE jobs ADD COLUMN mood text NOT NULL DEFAULT 'calm'`, `CREATE TABLE moods (name text PRIMARY KEY)`,
		`INSERT INTO migrations VALUES ('migrations/2999-01-01_telepathy.sql', 1)`)
	s := open(t, address)
	ok(t, s.Create(t.Context(), inlineJob("old", 2)))
	if j, err := s.Get(t.Context(), "old"); err != nil || len(j.Images) != 2 {
		t.Errorf("on a newer database a job is %+v, %v", j, err)
	}
	execute(t, address, `INSERT INTO migrations VALUES ('migrations/2999-01-02_mindreading.breaking.sql', 1)`)
	_, err := Open(t.Context(), address, quiet)
	if err == nil || !strings.Contains(err.Error(), "newer version") || !strings.Contains(err.Error(), "mindreading") {
		t.Errorf("opened a newer database: %v", err)
	}
}

// TestMigrationsAreAdditive holds, of each migration, that what was there before is there
// after it, and that whoever does not know what is new can still write.
func TestMigrationsAreAdditive(t *testing.T) {
	address := schema(t)
	conn, err := pgx.Connect(t.Context(), strings.ReplaceAll(address, "pool_max_conns", "application_name"))
	ok(t, err)
	defer conn.Close(t.Context())
	columns := func() map[[2]string]string { // each with its type, and whether it need not be given
		rows, err := conn.Query(t.Context(), `SELECT table_name, column_name, data_type || CASE
			WHEN is_nullable = 'YES' OR column_default IS NOT NULL OR is_identity = 'YES' THEN ' optional' ELSE '' END
			FROM information_schema.columns WHERE table_schema = current_schema()`)
		ok(t, err)
		found := map[[2]string]string{}
		var table, column, kind string
		_, err = pgx.ForEachRow(rows, []any{&table, &column, &kind}, func() error {
			found[[2]string{table, column}] = kind
			return nil
		})
		ok(t, err)
		return found
	}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	ok(t, err)
	slices.Sort(names)
	for n, name := range names {
		before, tables := columns(), map[string]bool{}
		script, err := migrations.ReadFile(name)
		ok(t, err)
		_, err = conn.PgConn().Exec(t.Context(), string(script)).ReadAll()
		ok(t, err)
		after := columns()
		if n == 0 || strings.HasSuffix(name, breaking) {
			continue
		}
		for column, kind := range before {
			tables[column[0]] = true
			if after[column] != kind {
				t.Errorf("%s makes %s, which was %s, %q", name, column, kind, after[column])
			}
		}
		for column, kind := range after {
			if _, old := before[column]; !old && tables[column[0]] && !strings.HasSuffix(kind, " optional") {
				t.Errorf("%s adds %s, which an older gateway would have to write", name, column)
			}
		}
	}
	if len(columns()) < 20 {
		t.Errorf("the columns are %v", columns())
	}
}
