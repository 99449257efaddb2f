package sqlstore

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// openURL opens the store in the database and closes it at the end of the test.
func openURL(t testing.TB, address string) *Store {
	t.Helper()
	return testDatabase{"postgres", address}.mustOpen(t)
}

// pool returns the store's connection pool.
func pool(s *Store) *pgxpool.Pool { return s.engine.(*postgresEngine).pool }

// TestSettings checks the PostgreSQL settings that the package promises.
func TestSettings(t *testing.T) {
	t.Parallel()
	s := openURL(t, schema(t)+"&application_name=ours")
	for setting, want := range map[string]string{
		"synchronous_commit": "on", "statement_timeout": "8s", "lock_timeout": "6s",
		"idle_in_transaction_session_timeout": "12s", "application_name": "ours", "plan_cache_mode": "force_generic_plan",
	} {
		var got string
		ok(t, pool(s).QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", setting, got, want)
		}
	}
	if most := pool(s).Config().MaxConns; most != 8 {
		t.Errorf("%d connections", most)
	}
}

// TestAddress verifies that mistakes in the URL are reported without the password.
func TestAddress(t *testing.T) {
	for _, good := range []string{
		"postgres://user:password@host:5432/database", "postgresql://host/database?sslmode=verify-full",
		"postgres://a,b:5433/database?target_session_attrs=read-write&pool_max_conns=4&synchronous_commit=remote_apply",
	} {
		if err := CheckPostgres(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	c, err := parse("postgres://host/database")
	ok(t, err)
	if c.MaxConns != maxConns {
		t.Errorf("%d connections by default", c.MaxConns)
	}
	const password = "s3cr3t"
	for bad, says := range map[string]string{
		"mysql://user:s3cr3t@host/database":                                 "want postgres://",
		"postgres:host":                                                     "want postgres://",
		"postgres://user:s3cr3t#x@host/database":                            "percent-encoded",
		"postgres://user:s3cr3t%zz@host/database":                           "percent-encoded",
		"postgres://user:s3cr3t@host:port/database":                         "want postgres://",
		"postgres://user:s3cr3t@host/database?sslmode=perhaps":              "want postgres://",
		"postgres://user:s3cr3t@host/database?pool_max_conns=many":          "many",
		"postgres://user:s3cr3t@host/database?pool_max_conns=0":             "want postgres://",
		"postgres://user:s3cr3t@host/database?synchronous_commit=off":       "synchronous_commit",
		"postgres://user:s3cr3t@host/database?sslmode=s3cr3t":               "want postgres://",
		"postgres://user@host/database?password=s3cr3t&sslmode=perhaps":     "want postgres://",
		"postgres://user@host/database?password=s3cr3t&connect_timeout=now": "want postgres://",
	} {
		err := CheckPostgres(bad)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", bad, err)
		} else if strings.Contains(err.Error(), password) {
			t.Errorf("the error contains the password: %v", err)
		}
	}
}

// TestPasswordStaysSecret verifies that neither the error nor the log contains the password of a
// database that rejects us or does not respond.
func TestPasswordStaysSecret(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(schema(t))
	ok(t, err)
	u.User = url.UserPassword("imagebatch", "s3cr3t")
	var log bytes.Buffer
	_, err = OpenPostgres(t.Context(), u.String(), slog.New(slog.NewTextHandler(&log, nil)))
	if err == nil || strings.Contains(err.Error()+log.String(), "s3cr3t") {
		t.Errorf("refused: %v\n%s", err, &log)
	}
	if err != nil && !strings.Contains(err.Error(), "password authentication failed") {
		t.Errorf("refused: %v", err)
	}
}

// TestErrorsThatOpenRetries verifies that Open waits for a server that shuts down or starts,
// and not for one that has rejected it.
func TestErrorsThatOpenRetries(t *testing.T) {
	for code, wait := range map[string]bool{
		"57P01": true, "57P02": true, "57P03": true, "53300": true,
		"28P01": false, "3D000": false, "42501": false,
	} {
		err := unavailable(fmt.Errorf("read: %w", &pgconn.PgError{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code}))
		if got := absent(err); got != wait {
			t.Errorf("error %s is retried: %t", code, got)
		}
	}
}

// TestWaitsForServer verifies that Open waits for a server that has not started yet.
func TestWaitsForServer(t *testing.T) {
	server := startServer(t)
	server.do("stop")
	var log bytes.Buffer
	var s *Store
	var err error
	var opening sync.WaitGroup
	opening.Go(func() { s, err = OpenPostgres(t.Context(), server.url, slog.New(slog.NewTextHandler(&log, nil))) })
	server.do("restart", "postgres")
	opening.Wait()
	ok(t, err)
	ok(t, s.Close())
	if strings.Contains(log.String(), "imagebatch:imagebatch") {
		t.Errorf("the log contains the password: %s", &log)
	}
}
