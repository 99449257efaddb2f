package postgres

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/jobtest"
	"github.com/imagebatch/imagebatch/shared/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	quiet = slog.New(slog.DiscardHandler)
	t0    = time.Date(2026, time.January, 2, 3, 4, 5, 0, time.UTC)
)

func TestStore(t *testing.T) {
	jobtest.Run(t, func(t *testing.T) job.Store { return open(t, schema(t)) })
}

// schema makes a schema of the test's own and returns the URL that leads to it.
func schema(t testing.TB) string {
	t.Helper()
	server := os.Getenv("TEST_POSTGRES_URL")
	if server == "" {
		t.Skip("TEST_POSTGRES_URL is not set")
	}
	name := "test_" + strings.ToLower(rand.Text())
	execute(t, server, "CREATE SCHEMA "+name)
	t.Cleanup(func() { execute(t, server, "DROP SCHEMA "+name+" CASCADE") })
	u, err := url.Parse(server)
	ok(t, err)
	q := u.Query()
	q.Set("search_path", name)
	q.Set("pool_max_conns", "8")
	u.RawQuery = q.Encode()
	return u.String()
}

// execute runs statements on a connection of their own.
func execute(t testing.TB, address string, statements ...string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // Cleanups come after its end.
	u, err := url.Parse(address)
	ok(t, err)
	q := u.Query()
	q.Del("pool_max_conns")
	u.RawQuery = q.Encode()
	conn, err := pgx.Connect(ctx, u.String())
	ok(t, err)
	defer conn.Close(ctx)
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// open opens the store and closes it with the test.
func open(t testing.TB, address string) *Store {
	t.Helper()
	s, err := Open(t.Context(), address, quiet)
	ok(t, err)
	t.Cleanup(func() { ok(t, s.Close()) })
	return s
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inlineJob is a job of n images whose originals are stored.
func inlineJob(id string, n int) *job.Job {
	images := make([]job.Image, n)
	for i := range images {
		images[i].Original = original(id, i)
	}
	return job.New(id, images, t0)
}

func original(id string, index int) job.Original {
	return job.Original{
		Path:        pipeline.OriginalKey(pipeline.NewTraceID(id, index), "holiday photograph.jpg"),
		ContentType: "image/jpeg", Size: 400_000, SHA256: strings.Repeat("a1b2", 16),
	}
}

// fetchJob is a job of n images that wait for their URLs to be fetched.
func fetchJob(id string, n int, l job.Lease) *job.Job {
	images := make([]job.Image, n)
	for i := range images {
		images[i].URL = fmt.Sprintf("https://example.com/%d.jpg", i)
	}
	j := job.New(id, images, t0)
	j.Lease = l
	return j
}

func settled(ref job.Ref) job.Transition {
	return job.Settle(pipeline.Ended(pipeline.NewEnvelope(ref.JobID, ref.Index, t0), "p/"+ref.JobID, t0), t0)
}
