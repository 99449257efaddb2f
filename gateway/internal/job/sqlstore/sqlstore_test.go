package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // for statements of the tests' own
	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/jobtest"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		if err := writeUntilKilled(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

var _ jobtest.Store = (*Store)(nil)

var (
	quiet = slog.New(slog.DiscardHandler)
	t0    = time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testDatabase is a database of one test.
type testDatabase struct {
	dialect string
	address string // path or URL
}

// newDatabase returns an empty database, or skips the test when its server is missing.
func newDatabase(t testing.TB, dialect string) testDatabase {
	t.Helper()
	if dialect == "sqlite" {
		return testDatabase{dialect, filepath.Join(t.TempDir(), "new", "folder", "jobs.db")}
	}
	return testDatabase{dialect, schema(t)}
}

// open opens the store. The caller closes it.
func (d testDatabase) open(ctx context.Context) (*Store, error) {
	if d.dialect == "sqlite" {
		return OpenSQLite(ctx, d.address, quiet)
	}
	return OpenPostgres(ctx, d.address, quiet)
}

// mustOpen opens the store and closes it at the end of the test.
func (d testDatabase) mustOpen(t testing.TB) *Store {
	t.Helper()
	s, err := d.open(t.Context())
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	return s
}

// connect opens a separate connection to the database. The caller closes it.
func (d testDatabase) connect(t testing.TB) *sql.DB {
	t.Helper()
	if d.dialect == "sqlite" {
		ok(t, os.MkdirAll(filepath.Dir(d.address), 0o700))
		db, err := openPool(d.address, 1, "_busy_timeout=5000", "_journal_mode=WAL", "_foreign_keys=1")
		ok(t, err)
		return db
	}
	u, err := url.Parse(d.address)
	ok(t, err)
	q := u.Query()
	q.Del("pool_max_conns")
	u.RawQuery = q.Encode()
	db, err := sql.Open("pgx", u.String())
	ok(t, err)
	db.SetMaxOpenConns(1)
	return db
}

// execute runs statements on a separate connection.
func (d testDatabase) execute(t testing.TB, statements ...string) {
	t.Helper()
	db := d.connect(t)
	defer db.Close()
	ctx := context.WithoutCancel(t.Context()) // cleanups run after its end
	for _, statement := range statements {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// onBoth runs a test on an empty database of each dialect.
func onBoth(t *testing.T, test func(t *testing.T, d testDatabase)) {
	t.Helper()
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			test(t, newDatabase(t, dialect))
		})
	}
}

// schema creates a schema for the test and returns its URL.
func schema(t testing.TB) string {
	t.Helper()
	server := testDatabase{"postgres", os.Getenv("TEST_POSTGRES_URL")}
	if server.address == "" {
		t.Skip("TEST_POSTGRES_URL is not set")
	}
	name := "test_" + strings.ToLower(rand.Text())
	server.execute(t, "CREATE SCHEMA "+name)
	t.Cleanup(func() { server.execute(t, "DROP SCHEMA "+name+" CASCADE") })
	return inSchema(t, server.address, name)
}

// inSchema returns the URL with a schema and few connections.
func inSchema(t testing.TB, address, name string) string {
	t.Helper()
	u, err := url.Parse(address)
	ok(t, err)
	q := u.Query()
	q.Set("search_path", name)
	q.Set("pool_max_conns", "8")
	u.RawQuery = q.Encode()
	return u.String()
}

// newJob returns a job of n images whose originals are stored.
func newJob(id string, n int) *job.Job {
	images := make([]job.Image, n)
	for i := range images {
		images[i] = job.Image{OriginalFilename: "holiday photograph.jpg", KeyName: "holiday photograph.jpg", Original: original(id, i)}
	}
	return job.New(id, images, t0)
}

func original(id string, index int) job.Original {
	return job.Original{
		Path:        pipeline.OriginalKey(pipeline.NewTraceID(id, index), "holiday photograph.jpg"),
		ContentType: "image/jpeg", Size: 400_000, SHA256: strings.Repeat("a1b2", 16),
	}
}

// fetchJob returns a job of n images whose URLs must be fetched.
func fetchJob(id string, n int, l job.Lease) *job.Job {
	images := make([]job.Image, n)
	for i := range images {
		images[i].URL = fmt.Sprintf("https://example.com/%d.jpg", i)
	}
	j := job.New(id, images, t0)
	j.Lease = l
	return j
}

// listAll returns all jobs of the list.
func listAll(t testing.TB, s *Store) (all []*job.Job) {
	t.Helper()
	q := job.Query{Viewer: job.Everybody, Limit: 500}
	for {
		page, err := s.List(t.Context(), q)
		ok(t, err)
		all = append(all, page.Jobs...)
		if q.After = page.Next; !page.More() {
			return all
		}
	}
}

func settled(ref job.Ref) job.Transition {
	return job.Settle(pipeline.Ended(pipeline.NewEnvelope(ref.JobID, ref.Index, t0), "p/"+ref.JobID, t0), t0)
}

func TestStore(t *testing.T) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		t.Run(dialect, func(t *testing.T) {
			jobtest.Run(t, func(t *testing.T) jobtest.Store { return newDatabase(t, dialect).mustOpen(t) })
		})
	}
}

// TestRestart verifies that a store continues after it is opened again. In SQLite, all leases
// have ended with the gateway that held them. In PostgreSQL, they stay valid, and the unsent images
// of the previous process are left to it for a moment.
func TestRestart(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d testDatabase) {
		first := d.mustOpen(t)
		far := t0.Add(time.Hour)
		ok(t, first.Create(t.Context(), newJob("inline", 2)))
		ok(t, first.Reserve(t.Context(), "reserved", job.Lease{Owner: "a", Epoch: 1, Until: t0}, job.Key{}))
		ok(t, first.Create(t.Context(), fetchJob("fetch", 1, job.Lease{Owner: "b", Until: far})))
		ok(t, first.Renew(t.Context(), "b", far))
		want, err := first.Count(t.Context())
		ok(t, err)
		ok(t, errors.Join(first.Close(), first.Close()))
		_, getErr := first.Get(t.Context(), "inline")
		for what, err := range map[string]error{
			"get": getErr, "create": first.Create(t.Context(), newJob("late", 1)), "ready": first.Ready(t.Context()),
		} {
			if !errors.Is(err, job.ErrUnavailable) {
				t.Errorf("%s after close: %v", what, err)
			}
		}

		second := d.mustOpen(t)
		if first.ID() != second.ID() {
			t.Errorf("the store was named %s and is now %s", first.ID(), second.ID())
		}
		got, err := second.Count(t.Context())
		ok(t, err)
		if got != want || got.Unsent != 2 || got.OpenImages != 3 {
			t.Errorf("counts were %+v and are now %+v", want, got)
		}
		claimed, err := second.Claim(t.Context(), "b", t0.Add(time.Second), far, 9)
		ok(t, err)
		ids := map[string][]string{"sqlite": {"reserved", "fetch"}, "postgres": {"reserved"}}[d.dialect]
		if !slices.EqualFunc(claimed, ids, func(j *job.Job, id string) bool { return j.ID == id }) {
			t.Fatalf("claimed %+v", claimed)
		}
		for i, j := range claimed {
			if want := int64(2 - i); j.Lease.Epoch != want {
				t.Errorf("the lease of %s is %+v", j.ID, j.Lease)
			}
		}
		limit := time.After(2 * relayTime)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			list, err := second.Unsent(t.Context(), 9)
			ok(t, err)
			if len(list) == 2 {
				break
			}
			select {
			case <-tick.C:
			case <-limit:
				t.Fatalf("unsent: %+v", list)
			}
		}
	})
}

// TestNewID verifies that a store keeps the ID that it was given, and that a gateway with the
// store is not ready until it is restarted.
func TestNewID(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d testDatabase) {
		first := d.mustOpen(t)
		id, err := first.NewID(t.Context())
		ok(t, err)
		if id == "" || id == first.ID() {
			t.Errorf("the store with the ID %q was given the ID %q, want another one", first.ID(), id)
		}
		if err := first.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "restart the gateway") {
			t.Errorf("Ready = %v, want that the gateway must be restarted", err)
		}
		ok(t, first.Close())
		second := d.mustOpen(t)
		ok(t, second.Ready(t.Context()))
		if second.ID() != id {
			t.Errorf("the store was given the ID %s and has %s", id, second.ID())
		}
	})
}
