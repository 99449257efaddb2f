package sqlstore

import (
	"testing"
	"time"
)

// TestTotals verifies that an owner's jobs are counted when a gateway of an older version creates, hides
// and deletes jobs, and when the database was filled before it had totals.
func TestTotals(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d testDatabase) {
		s := d.mustOpen(t)
		total := func(when, owner string, want int) {
			t.Helper()
			n, err := s.Owned(t.Context(), owner)
			ok(t, err)
			if n != want {
				t.Errorf("%s: %s has %d jobs, want %d", when, owner, n, want)
			}
		}
		for id, owner := range map[string]string{"1": "anna", "2": "anna", "3": "anna", "4": "bert", "5": ""} {
			j := newJob(id, 1)
			j.Owner = owner
			ok(t, s.Create(t.Context(), j))
		}
		d.execute(t, oldJob(d, "'6', 'failed', true, 1, 0, 1, 2, 5000000, 6000000, 6000000, 'gone', 1, 9000000, 0, false"),
			`UPDATE jobs SET visible = false, status = 'failed', completed_at = 1 WHERE id = '1'`,
			`UPDATE jobs SET visible = false WHERE id = '1'`,
			`DELETE FROM jobs WHERE id = '1'`,
			`DELETE FROM jobs WHERE id = '2'`)
		total("changed", "anna", 1)
		total("changed", "bert", 1)
		total("changed", "", 0) // they have no owner
		total("changed", "carl", 0)
		ok(t, s.Close())

		drop := []string{`DROP TABLE totals`, `DELETE FROM migrations WHERE name LIKE '%totals.sql'`}
		for _, event := range []string{"inserted", "updated", "deleted"} {
			trigger := `DROP TRIGGER totals_` + event
			if d.dialect == "postgres" {
				trigger += " ON jobs"
			}
			drop = append(drop, trigger)
		}
		if d.dialect == "postgres" {
			drop = append(drop, `DROP FUNCTION add_to_totals`)
		}
		d.execute(t, drop...)
		s = d.mustOpen(t)
		total("migrated", "anna", 1)
		total("migrated", "bert", 1)
		if d.dialect == "sqlite" { // PostgreSQL counts all jobs in another table
			counts, err := s.Count(t.Context())
			ok(t, err)
			if counts.Jobs != 4 {
				t.Errorf("migrated: %d jobs, want 4", counts.Jobs)
			}
		}
	})
}

// TestResendOfMany verifies that every open image is sent again when there are more than one transaction
// marks, and each only once.
func TestResendOfMany(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, d testDatabase) {
		s := d.mustOpen(t)
		const jobs, images = 1010, 10 // more jobs than are read at a time, and twice as many images as are marked
		relay, values := "", ""
		if d.dialect == "postgres" {
			relay, values = ", relay, relay_until", ", '', 0"
		}
		d.execute(t, `WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 1010)
			INSERT INTO jobs (id, status, visible, total, completed, failed, revision, created_at, updated_at, completed_at,
				lease_owner, lease_epoch, lease_until, work, originals_gone, retry_of, fingerprint, idempotency_scope, idempotency_key)
			SELECT 'job-' || n, 'processing', true, 10, 0, 0, 1, n / 700, 1, 0, '', 0, 0, 0, false, '', '', '', '' FROM g`,
			`WITH RECURSIVE k (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM k WHERE n < 9)
			INSERT INTO images (job, idx, trace_id, original_filename, key_name, url, status, original_path, content_type, size, sha256,
				processed_path, error, error_code, retryable, start_time, end_time, revision, unsent, send`+relay+`)
			SELECT j.seq, k.n, j.id, 'a.jpg', 'a.jpg', '', 'processing', 'path', 'image/jpeg', 1, '', '', '', '', false, 1, 0, 1, false, 1`+values+`
			FROM jobs j CROSS JOIN k`)
		marked, err := s.Resend(t.Context(), time.Unix(1, 0))
		ok(t, err)
		if marked != jobs*images {
			t.Errorf("%d images were marked, want %d", marked, jobs*images)
		}
		counts, err := s.Count(t.Context())
		ok(t, err)
		unsent, err := s.Unsent(t.Context(), 2*jobs*images)
		ok(t, err)
		if counts.Unsent != jobs*images || len(unsent) != jobs*images {
			t.Errorf("%d images are unsent, and %d are counted, want %d", len(unsent), counts.Unsent, jobs*images)
		}
		for _, u := range unsent {
			if u.Image.Send != 2 {
				t.Fatalf("image %d of %s was marked %d times", u.Image.Index, u.JobID, u.Image.Send-1)
			}
		}
	})
}
