package sqlite

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPlans asks the planner how it runs each statement: by keys, or along an
// index that holds only what is wanted.
func TestPlans(t *testing.T) {
	s := openStore(t, logLimit)
	// Tables of one row, or one for each gateway; and what runs once, at Open.
	fine := regexp.MustCompile(`^(SCAN (store|owners|CONSTANT ROW)|SCAN .* USING (COVERING )?INDEX (jobs_\w+|images_\w+)\b)`)
	sorts := []string{selectChanges, lapsedOwners} // The images of one job; the owners.
	asked := 0
	for _, query := range slices.Concat(writeQueries, readQueries, openQueries) {
		if !strings.ContainsAny(query, " \n") || strings.Contains(query, "request") {
			continue
		}
		args := make([]any, strings.Count(query, "?"))
		rows, err := s.reader.pool.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
		steps, err := collect(rows, err, func(scan scanner) (step string, err error) {
			var id, parent, unused int
			err = scan(&id, &parent, &unused, &step)
			return step, err
		})
		ok(t, err)
		asked++
		for _, step := range steps {
			if strings.HasPrefix(step, "SCAN") && !fine.MatchString(step) {
				t.Errorf("%s\n\t%s", step, query)
			}
			if strings.Contains(step, "TEMP B-TREE") && !slices.Contains(sorts, query) {
				t.Errorf("%s\n\t%s", step, query)
			}
		}
	}
	if asked < 30 {
		t.Errorf("only %d statements were asked about", asked)
	}
}

// TestDurability asks SQLite for what the package promises.
func TestDurability(t *testing.T) {
	s := openStore(t, logLimit)
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
		var got string
		ok(t, s.writer.pool.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", pragma, got, want)
		}
	}
	if _, err := s.reader.pool.ExecContext(t.Context(), `DELETE FROM jobs`); err == nil {
		t.Error("a reader wrote")
	}
}
