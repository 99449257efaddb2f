package sqlstore

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestSQLitePlans verifies how SQLite runs each statement: by keys, or along an index that
// contains only the wanted rows.
func TestSQLitePlans(t *testing.T) {
	s := openStore(t, logLimit)
	// Allowed scans: tables with one row, one for each gateway, or few for each API key (w); rows
	// that the statement has found before; and statements that run once, when the file is opened.
	fine := regexp.MustCompile(`^(SCAN (store|owners|w|h|holders|open|due|q|counted|waiting|pending|surplus|totals|CONSTANT ROW|json_each)\b|SCAN .* USING (COVERING )?INDEX (jobs_\w+|images_\w+|deliveries_\w+)\b)`)
	for _, query := range slices.Concat(statements, endLeases) {
		for _, step := range sqlitePlan(t, s, query) {
			if strings.HasPrefix(step, "SCAN") && !fine.MatchString(step) {
				t.Errorf("%s\n\t%s", step, query)
			}
			if strings.Contains(step, "TEMP B-TREE") && query != selectChanges { // which sorts the images of one job
				t.Errorf("%s\n\t%s", step, query)
			}
		}
	}
}

// sqlitePlan returns the steps of a statement.
func sqlitePlan(t *testing.T, s *Store, query string) (steps []string) {
	t.Helper()
	query = sqliteText(query)
	args := make([]any, strings.Count(query, "?"))
	rows, err := file(s).reader.pool.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	ok(t, err)
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		ok(t, rows.Scan(&id, &parent, &unused, &step))
		steps = append(steps, step)
	}
	ok(t, rows.Err())
	return steps
}

// fill creates 20,000 jobs of two images each, one in a hundred of them open with work for
// gateways and relays, and as many hidden.
const fill = `INSERT INTO jobs (id, status, visible, total, completed, failed, revision, created_at, updated_at,
		completed_at, lease_owner, lease_epoch, lease_until, work, originals_gone,
		retry_of, fingerprint, idempotency_scope, idempotency_key, owner)
	SELECT 'job-' || n, CASE WHEN n % 100 = 0 THEN 'processing' ELSE 'completed' END, n % 100 <> 1,
		2, CASE WHEN n % 100 = 0 THEN 0 ELSE 2 END, 0, 3, n, n,
		CASE WHEN n % 100 = 0 THEN 0 ELSE n END, 'owner-' || n % 3, 1, n, CASE WHEN n % 100 = 0 THEN 1 ELSE 0 END, n % 200 = 1,
		'', '', 'me', CASE WHEN n % 2 = 0 THEN 'key-' || n ELSE '' END, 'owner-' || n % 100
	FROM generate_series(1, 20000) n;
	INSERT INTO images SELECT j.seq, k, md5(j.id), 'a.jpg', 'a.jpg', '', CASE WHEN j.work > 0 THEN 'processing' ELSE 'completed' END,
		'path', 'image/jpeg', 1, repeat('a1b2', 16), '', '', '', false, 1, CASE WHEN j.work > 0 THEN 0 ELSE 1 END, k + 2,
		j.work > 0, 1, 'relay-' || j.seq % 3, 0
	FROM jobs j CROSS JOIN generate_series(0, 1) k;
	INSERT INTO webhooks (id, owner, url, events, secret, old_secret, old_until, listed, slot, created_at)
	SELECT 'hook-' || n, 'owner-' || n % 100, 'https://example.com/', 7, 'whsec_', '', 0, false, n / 100, n FROM generate_series(0, 999) n;
	INSERT INTO deliveries (webhook, message, type, job, body, origin, created_at, next_at, ended_at)
	SELECT 'hook-' || n % 1000, 'msg_' || n, 'job.completed', 'job-' || n, repeat('a1b2', 64), '', n,
		CASE WHEN n % 100 = 0 THEN n ELSE 0 END, CASE WHEN n % 100 = 0 THEN 0 ELSE n END
	FROM generate_series(1, 20000) n;
	INSERT INTO downloads SELECT 'hash-' || n, 'owner-' || n % 1000, n / 1000, '', 'job-' || n, 'zip', 0, '', '', n FROM generate_series(1, 20000) n;
	INSERT INTO owners SELECT 'owner-' || n, n FROM generate_series(1, 9) n;
	ANALYZE`

// TestPostgresPlans verifies how the planner runs each frequent statement on many rows, both
// with the given arguments and with a generic plan: by keys, or along an index that contains only
// the wanted rows. Not among them are the deletions of ended deliveries and expired downloads, which may be a large part of
// all.
func TestPostgresPlans(t *testing.T) {
	t.Parallel()
	address := schema(t)
	s := openURL(t, address)
	testDatabase{"postgres", address}.execute(t, fill)
	session, err := pool(s).Acquire(t.Context())
	ok(t, err)
	defer session.Release()
	conn := session.Conn().PgConn()

	for name, statement := range map[string]call{
		"lock job":         {lockJob, `'job-7'`},
		"lock image":       {lockImage, `'job-7', 1`},
		"get":              {selectJob, `'job-7'`},
		"images":           {selectImages, `7`},
		"images of jobs":   {selectImagesOf, `'{7, 8, 9}'`},
		"changes":          {selectChanges, `7, 2`},
		"jobs of one":      {countOwned, `'owner-7'`},
		"open of one":      {countOwnedOpen, `'owner-7'`},
		"counts":           {selectCounts, ``},
		"lapsed owners":    {lapsedOwners, `99999999`},
		"lapsed":           {lapsedJobs, `'owner-1', 99999999, 16`},
		"claim":            {claimJob, `'me', 1, 2, 7`},
		"held":             {lockLease, `7, 'me', 1`},
		"renew leases":     {renewLeases, `5, 'owner-1', 5`},
		"take unsent":      {takeUnsent, `256`},
		"unsent":           {selectUnsent, `256`},
		"open jobs":        {selectOpen, `500, 7, 1000`},
		"resend":           {resend, `'{7, 8, 9}', 500, false`},
		"mark sent":        {markSent, `'job-100', 1, 1`},
		"hide":             {hideJobs, `500, 100`},
		"hidden":           {selectHidden, `false, 500, 9223372036854775807, 100`},
		"swept":            {selectHidden, `true, 500, 500, 100`},
		"forget originals": {forgetOriginals, `500, 'job-7'`},
		"forget headers":   {forgetHeaders, `'job-7'`},
		"drop headers":     {dropHeaders, `7, 0`},
		"delete":           {deleteJob, `'job-7'`},
		"release":          {releaseJob, `'job-7', 'me', 1`},
		"exists":           {countByID, `'job-7'`},
		"keyed":            {selectKeyed, `'me', 'key'`},
		"lock images":      {lockImages, `7`},

		"webhook":         {lockWebhook, `'hook-7'`},
		"webhooks of one": {ownedWebhooks, `'owner-7'`},
		"taken slots":     {takenSlots, `'owner-7'`},
		"rotate":          {rotateWebhook, `'new', 9, 'hook-7'`},
		"remove":          {removeWebhook, `9, 'hook-7'`},
		"works":           {webhookWorks, `'hook-7'`},
		"fails":           {webhookFails, `9, 'hook-7'`},
		"disable":         {disableWebhook, `9, 'reason', 'hook-7', false, 5`},
		"delete webhook":  {deleteWebhook, `'hook-7', 'hook-7'`},
		"enqueue":         {enqueueEnd, `'msg', 'job.completed', 'job-7', '{}', '', 9, 1, 'owner-7', 1`},
		"deliveries":      {selectDeliveries, `'hook-7', 9999, 100`},
		"claim delivery":  {claimDeliveries, `'hook-0', 9999, 4, 9999`},
		"record":          {recordAttempt, `9, 200, '', 0, 9, true, 100, 1`},
		"return":          {returnDelivery, `100, 1`},
		"oldest pending":  {oldestPending, ``},
		"abandon":         {abandonPending, `9, 'reason', 'hook-0', 100`},
		"delete some":     {deleteSome, `'hook-7', 100`},
		"surplus":         {surplusFrom, `'hook-7', 500`},
		"count surplus":   {countSurplus, `'hook-7', 500, 100`},
		"delete oldest":   {deleteOldest, `'hook-7', true, 100`},

		"download":        {selectDownload, `'hash-7', 5`},
		"taken downloads": {takenDownloads, `'owner-7'`},
		"take download":   {deleteDownload, `'hash-7'`},
		"drop of one":     {dropEndedOf, `'owner-7', 100`},
	} {
		t.Run(name, func(t *testing.T) {
			for mode, plan := range statement.plans(t, s, conn) {
				for _, step := range plan {
					table := step["Relation Name"]
					if step["Node Type"] == "Seq Scan" && table != "figures" && table != "totals" && table != "owners" && table != "store" {
						t.Errorf("%s: scans %s: %v", mode, table, plan)
					}
					if step["Index Name"] == "images_open" {
						t.Errorf("%s: reads all open images: %v", mode, plan)
					}
				}
			}
		})
	}
}

// TestPostgresListPlans verifies that the planner reads each listing from its index, in the
// order of the list: it neither reads jobs that are not in the list nor sorts.
func TestPostgresListPlans(t *testing.T) {
	t.Parallel()
	address := schema(t)
	s := openURL(t, address)
	testDatabase{"postgres", address}.execute(t, fill)
	session, err := pool(s).Acquire(t.Context())
	ok(t, err)
	defer session.Release()
	for l, args := range conditions {
		for _, oldest := range []bool{false, true} {
			statement := call{l.text(oldest), args + "1000, '', 15000, 'job-15000', 50"}
			for mode, plan := range statement.plans(t, s, session.Conn().PgConn()) {
				for _, step := range plan {
					kind, _ := step["Node Type"].(string)
					if index, has := step["Index Name"]; has && index != l.index && index != "owners_pkey" {
						t.Errorf("%s: %s: reads %s, want %s", l.where, mode, index, l.index)
					}
					if strings.Contains(kind, "Sort") || kind == "Seq Scan" && step["Relation Name"] == "jobs" || step["Filter"] != nil && step["Relation Name"] == "jobs" {
						t.Errorf("%s: %s: %s: %v", l.where, mode, kind, step)
					}
				}
			}
		}
	}
}

// TestCountPlans verifies that both databases count the jobs of a listing along its index, as far
// as the limit, if they expect more jobs than that. Fewer may be read in another order.
func TestCountPlans(t *testing.T) {
	t.Parallel()
	file := openStore(t, logLimit)
	for _, query := range countStatements() {
		steps := strings.Join(sqlitePlan(t, file, query), "\n")
		if !strings.Contains(steps, "SEARCH j USING") || strings.Contains(steps, "TEMP B-TREE") {
			t.Errorf("%s:\n%s", query, steps)
		}
	}
	address := schema(t)
	s := openURL(t, address)
	testDatabase{"postgres", address}.execute(t, fill)
	session, err := pool(s).Acquire(t.Context())
	ok(t, err)
	defer session.Release()
	for l, args := range conditions {
		for mode, plan := range (call{l.count(), args + "50"}).plans(t, s, session.Conn().PgConn()) {
			for _, step := range plan {
				kind, _ := step["Node Type"].(string)
				if index, has := step["Index Name"]; has && index != l.index || strings.Contains(kind, "Sort") || kind == "Seq Scan" || step["Filter"] != nil {
					t.Errorf("%s: %s: %v", l.where, mode, step)
				}
			}
		}
	}
}

// conditions are the arguments of each listing's condition.
var conditions = map[listing]string{
	everyJob:  ``,
	ownedJobs: `'owner-7', `,
	retries:   `'job-7', `,
	uploads:   `'upload-7', `,

	uncaptioned:      ``,
	ownedUncaptioned: `'owner-7', `,

	withStatus:    `'completed', `,
	withFailures:  `'completed', `,
	ownedStatus:   `'owner-7', 'completed', `,
	ownedFailures: `'owner-7', 'completed', `,
}

// TestSQLiteListPlans verifies the same for SQLite.
func TestSQLiteListPlans(t *testing.T) {
	s := openStore(t, logLimit)
	for l := range conditions {
		for _, oldest := range []bool{false, true} {
			for _, step := range sqlitePlan(t, s, l.text(oldest)) {
				if strings.Contains(step, "TEMP B-TREE") || regexp.MustCompile(`^(SCAN|SEARCH) j\b`).MatchString(step) && !strings.HasPrefix(step, "SEARCH j USING INDEX "+l.index+" (") {
					t.Errorf("%s, oldest first: %t: %s, want a search of %s", l.where, oldest, step, l.index)
				}
			}
		}
	}
}

// call is a statement with its arguments.
type call struct{ query, args string }

// plans returns how PostgreSQL runs the call, with the given arguments and with a generic plan:
// for each mode, all nodes of the plan.
func (c call) plans(t *testing.T, s *Store, conn *pgconn.PgConn) map[string][]map[string]any {
	t.Helper()
	translated := c.query
	if own, ok := s.engine.(*postgresEngine).statements[translated]; ok {
		translated = own
	}
	execute := "q"
	if c.args != "" {
		execute += "(" + c.args + ")"
	}
	plans := map[string][]map[string]any{}
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		for _, statement := range []string{"DEALLOCATE ALL", "SET plan_cache_mode = " + mode, "PREPARE q AS " + translated} {
			if _, err := conn.Exec(t.Context(), statement).ReadAll(); err != nil {
				t.Fatal(err)
			}
		}
		results, err := conn.Exec(t.Context(), "EXPLAIN (FORMAT JSON) EXECUTE "+execute).ReadAll()
		ok(t, err)
		plans[mode] = nodes(t, results[0].Rows[0][0])
	}
	return plans
}

// nodes returns all nodes of a plan.
func nodes(t *testing.T, plan []byte) (all []map[string]any) {
	t.Helper()
	var tree any
	ok(t, json.Unmarshal(plan, &tree))
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, part := range node {
				walk(part)
			}
		case map[string]any:
			all = append(all, node)
			for _, part := range node {
				walk(part)
			}
		}
	}
	walk(tree)
	return all
}

// TestDurability checks the SQLite settings that the package promises.
func TestDurability(t *testing.T) {
	s := openStore(t, logLimit)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		ok(t, file(s).writer.pool.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
	if _, err := file(s).reader.pool.ExecContext(t.Context(), `DELETE FROM jobs`); err == nil {
		t.Error("a reader can write")
	}
}
