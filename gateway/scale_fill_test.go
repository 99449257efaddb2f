package gateway

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
)

// The jobs of a filled store, n = 1 being the oldest. scaleJob returns the ID of one.
const (
	scaleImages  = 10                  // images of a kept job
	scaleBatch   = 100                 // images of a job of the backlog
	scaleKept    = 30 * 24 * time.Hour // JOB_RETENTION of the gateways
	scaleOldest  = 20 * 24 * time.Hour // age of the oldest job
	scaleExpired = 27 * 24 * time.Hour // age of the jobs that the measured sweep deletes
)

func scaleJob(n int) string {
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", n*2654435761%(1<<32), n)
}

// scaleSchema is a database that is filled with statements, because creating so many jobs with the
// gateway would take hours.
type scaleSchema struct {
	url    string    // DATABASE_URL
	filled time.Time // "now" of the jobs
	run    func(ctx context.Context, statements ...string) error
	close  func() error
}

// scaleSQLite returns a new file.
func scaleSQLite(ctx context.Context, folder string) (*scaleSchema, error) {
	path := filepath.Join(folder, "jobs.db")
	s := &scaleSchema{url: "sqlite:" + path, filled: time.Now()}
	if err := s.create(ctx); err != nil {
		return nil, err
	}
	// The driver is that of the job store. A file that is damaged by a crash meanwhile is of no use anyway.
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	s.run = func(ctx context.Context, statements ...string) error {
		for _, text := range append([]string{`PRAGMA journal_mode = OFF`, `PRAGMA synchronous = OFF`, `PRAGMA cache_size = -200000`, `PRAGMA foreign_keys = OFF`}, statements...) {
			if _, err := db.ExecContext(ctx, scaleDialects["sqlite"].Replace(text)); err != nil {
				return fmt.Errorf("%.60s: %w", text, err)
			}
		}
		return nil
	}
	s.close = db.Close
	return s, nil
}

// scalePostgres returns a new schema in the database of servers.sh, whose psql runs the statements.
func scalePostgres(ctx context.Context, name string) (*scaleSchema, error) {
	psql := func(ctx context.Context, text string) error {
		out, err := exec.CommandContext(ctx, filepath.Join(os.Getenv("TEST_SERVERS_DIR"), "psql"), text).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%.60s: %w: %.500s", text, err, out)
		}
		return nil
	}
	if err := psql(ctx, "DROP SCHEMA IF EXISTS "+name+" CASCADE"); err != nil {
		return nil, err
	}
	if err := psql(ctx, "CREATE SCHEMA "+name); err != nil {
		return nil, err
	}
	u, err := url.Parse(os.Getenv("TEST_POSTGRES_URL"))
	if err != nil {
		return nil, err
	}
	query := u.Query()
	query.Set("search_path", name)
	u.RawQuery = query.Encode()
	s := &scaleSchema{url: u.String(), filled: time.Now()}
	s.run = func(ctx context.Context, statements ...string) error {
		for _, text := range statements {
			text = scaleDialects["postgres"].Replace(text)
			if !strings.HasPrefix(text, "VACUUM") { // which runs in no transaction
				// Replicas do not check foreign keys again.
				text = "SET search_path = " + name + "; SET session_replication_role = replica; SET work_mem = '256MB'; SET maintenance_work_mem = '512MB'; " + text
			}
			if err := psql(ctx, text); err != nil {
				return err
			}
		}
		return nil
	}
	s.close = func() error { return psql(context.WithoutCancel(ctx), "DROP SCHEMA "+name+" CASCADE") }
	return s, s.create(ctx)
}

// create creates the tables as the gateway does.
func (s *scaleSchema) create(ctx context.Context) error {
	store, err := sqlstore.Open(ctx, s.url, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return store.Close()
}

// scaleDialects translate the statements of fill.
var scaleDialects = map[string]*strings.Replacer{
	"sqlite": strings.NewReplacer(
		"{id}", `printf('%08x-0000-4000-8000-%012x', n * 2654435761 % 4294967296, n)`, "{retried}", `printf('%08x-0000-4000-8000-%012x', (n - 3) * 2654435761 % 4294967296, n - 3)`,
		"{trace}", `substr(j.id, 1, 8) || printf('%024x', j.seq * 128 + k.n)`, "true", "1", "false", "0", "{relay}", "", "{unrelayed}", "", "{ordered}", "CROSS JOIN", "{int}", "",
	),
	"postgres": strings.NewReplacer(
		"{id}", `lpad(to_hex(n * 2654435761 % 4294967296), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(n), 12, '0')`,
		"{retried}", `lpad(to_hex((n - 3) * 2654435761 % 4294967296), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(n - 3), 12, '0')`,
		"{trace}", `substr(j.id, 1, 8) || lpad(to_hex(j.seq * 128 + k.n), 24, '0')`, "{relay}", ", relay, relay_until", "{unrelayed}", ", '', 0", "{ordered}", "CROSS JOIN", "{int}", "::bigint",
	),
}

// scaleJobs inserts the jobs from {from} to {to}. In a thousand jobs there are 20 failed ones, 10 cancelled ones,
// 50 others with a failed image, 2 without a caption, and 5 retries. Two in three belong to anna, nearly all others to
// bert, and one in a thousand to dora. Twenty successive jobs are one upload. Their ages reach from {age} to 0, except those of the expired.
const scaleJobs = `WITH RECURSIVE g (n) AS (SELECT {from}{int} UNION ALL SELECT n + 1 FROM g WHERE n < {to})
	INSERT INTO jobs (id, status, visible, total, completed, failed, revision, created_at, updated_at, completed_at,
		lease_owner, lease_epoch, lease_until, work, originals_gone, retry_of, fingerprint, idempotency_scope, idempotency_key,
		owner, origin, metadata, upload, uncaptioned)
	SELECT {id}, CASE WHEN open THEN 'processing' WHEN n % 50 = 1 THEN 'failed' WHEN n % 100 = 3 THEN 'cancelled' ELSE 'completed' END,
		true, total, CASE WHEN open THEN 0 ELSE total - bad END, CASE WHEN open THEN 0 ELSE bad END, CASE WHEN open THEN 1 ELSE total + 1 END,
		created, CASE WHEN open THEN created ELSE created + 60000000 END, CASE WHEN open THEN 0 ELSE created + 60000000 END,
		'', 1, 0, 0, false, CASE WHEN n % 200 = 7 THEN {retried} ELSE '' END, '', owner, CASE WHEN n % 4 = 0 THEN {id} ELSE '' END,
		owner, '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
		'{"album":"Summer","upload":"upload-' || (n / 20) || '"}', 'upload-' || (n / 20), CASE WHEN n % 50 = 9 THEN 1 ELSE 0 END
	FROM (SELECT n, {open} AS open, {total} AS total,
		CASE WHEN n % 50 = 1 THEN {total} WHEN n % 100 = 3 THEN 5 WHEN n % 20 = 5 THEN 1 ELSE 0 END AS bad,
		CASE WHEN n <= {expired} THEN {longago} + n * 1000000 ELSE {now} - {age} / ({to} - {from} + 1) * ({to} - n) END AS created,
		CASE WHEN n % 50 = 11 THEN 'dora' WHEN n % 3 < 2 THEN 'anna' ELSE 'bert' END AS owner FROM g) AS jobs`

// scaleImagesOf inserts their images. One job in a thousand has an image with a name of its own.
const scaleImagesOf = `WITH RECURSIVE k (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n < {total} - 1)
	INSERT INTO images (job, idx, trace_id, original_filename, key_name, url, headers, custom_id, status, original_path,
		content_type, size, sha256, processed_path, error, error_code, retryable, start_time, end_time, revision, unsent, send,
		phash, width, height, captions{relay})
	SELECT seq, n, trace, name, name, '', '', '', CASE WHEN {open} THEN 'processing' WHEN bad THEN 'failed' ELSE 'completed' END, trace || '/' || name,
		'image/jpeg', 400000, trace || trace, CASE WHEN {open} OR bad THEN '' ELSE trace || '/' || name END,
		CASE WHEN bad AND NOT {open} THEN 'Image could not be processed' ELSE '' END, CASE WHEN bad AND NOT {open} THEN 'processing_failed' ELSE '' END,
		false, created_at, CASE WHEN {open} THEN 0 ELSE created_at + 60000000 END, CASE WHEN {open} THEN 1 ELSE n + 2 END, {open}, 1,
		CASE WHEN {open} THEN '' ELSE substr(trace, 1, 16) END, 1888, 1062, ''{unrelayed}
	FROM (SELECT j.seq, j.created_at, k.n, k.n >= j.total - j.failed AS bad, {trace} AS trace,
		CASE WHEN j.seq % 997 = 0 AND k.n = 3 THEN 'beach-' ELSE 'IMG_' END || j.seq || '_' || k.n || '.jpg' AS name
		FROM jobs j {ordered} k WHERE {those}) AS images`

// fill stores n ended jobs, of which the first expired ones have expired.
func (s *scaleSchema) fill(ctx context.Context, n, expired int) error {
	jobs, images := s.statements(1, n, expired, false)
	all := []string{jobs, images}
	if sqlstore.IsPostgres(s.url) {
		all = append(all, `UPDATE figures SET jobs = jobs + `+strconv.Itoa(n)+` WHERE shard = 0`,
			`INSERT INTO totals SELECT owner, -1, count(*) FROM jobs GROUP BY owner`, `ANALYZE`)
	}
	return s.run(ctx, all...)
}

// addBacklog stores a number of open images, in jobs with the numbers after the first n.
func (s *scaleSchema) addBacklog(ctx context.Context, n, images int) error {
	from, to := n+1, n+images/scaleBatch
	jobs, rows := s.statements(from, to, 0, true)
	all := []string{jobs, rows}
	if sqlstore.IsPostgres(s.url) {
		all = append(all, fmt.Sprintf(`UPDATE figures SET jobs = jobs + %d, open_images = open_images + %d, unsent = unsent + %[2]d WHERE shard = 0`, to-n, images))
	}
	return s.run(ctx, all...)
}

func (s *scaleSchema) statements(from, to, expired int, open bool) (jobs, images string) {
	total, those := scaleImages, "j.visible = true"
	if open {
		total, those = scaleBatch, "j.visible = true AND j.completed_at = 0" // those of an earlier backlog have ended
	}
	now := s.filled.UnixMicro()
	values := strings.NewReplacer(
		"{from}", strconv.Itoa(from), "{to}", strconv.Itoa(to), "{expired}", strconv.Itoa(expired), "{longago}", strconv.FormatInt(now-scaleExpired.Microseconds(), 10),
		"{now}", strconv.FormatInt(now-2*time.Minute.Microseconds(), 10), "{age}", strconv.FormatInt(scaleOldest.Microseconds(), 10), "{total}", strconv.Itoa(total), "{open}", strconv.FormatBool(open),
		"{those}", those,
	)
	return values.Replace(scaleJobs), values.Replace(scaleImagesOf)
}
