package sqlstore

import (
	"testing"
	"time"
)

// TestKeptRowsAreNotRead verifies that retention does not read rows that only wait for their
// results to expire, of which there may be a year's worth.
func TestKeptRowsAreNotRead(t *testing.T) {
	s := openStore(t, logLimit)
	look := func() time.Duration {
		fastest := time.Hour
		for range 5 {
			start := time.Now()
			due, err := s.Hidden(t.Context(), t0.Add(time.Hour), time.Time{}, 100)
			ok(t, err)
			if len(due) > 0 {
				t.Fatalf("%d rows are due", len(due))
			}
			fastest = min(fastest, time.Since(start))
		}
		return fastest
	}
	none := look()
	_, err := file(s).writer.pool.ExecContext(t.Context(), `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
		INSERT INTO jobs (id, status, visible, total, completed, failed, revision, created_at, updated_at, completed_at,
			lease_owner, lease_epoch, lease_until, work, originals_gone, originals_gone_at)
		SELECT 'job-' || i, 'completed', 0, 0, 0, 0, 1, ?1, ?1, ?1, 'gone', 0, 0, 0, 1, ?1 FROM n`, micros(t0))
	ok(t, err)
	if many := look(); many > 20*none+time.Millisecond {
		t.Errorf("a query takes %s with many waiting rows, %s without", many, none)
	}
}
