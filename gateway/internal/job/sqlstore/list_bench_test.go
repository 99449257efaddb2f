package sqlstore

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
)

// manyJobs stores n jobs of one image with ascending creation times: half of anna and half of
// bert, nearly all completed. One in ten has a failed image; one in all is failed, belongs to
// carl and is a retry.
func manyJobs(b *testing.B, d testDatabase, n int) {
	b.Helper()
	relay, values := "", ""
	if d.dialect == "postgres" {
		relay, values = ", relay, relay_until", ", '', 0"
	}
	d.execute(b, fmt.Sprintf(`WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < %[1]d)
		INSERT INTO jobs (id, status, visible, total, completed, failed, revision, created_at, updated_at, completed_at,
			lease_owner, lease_epoch, lease_until, work, originals_gone, retry_of, fingerprint, idempotency_scope, idempotency_key, owner)
		SELECT 'job-' || n, CASE WHEN n = %[1]d / 2 THEN 'failed' ELSE 'completed' END, true, 2,
			CASE WHEN n = %[1]d / 2 THEN 0 WHEN n %% 10 = 0 THEN 1 ELSE 2 END, CASE WHEN n = %[1]d / 2 THEN 2 WHEN n %% 10 = 0 THEN 1 ELSE 0 END,
			3, n, n, n, 'gone', 1, 0, 0, false, CASE WHEN n = %[1]d / 2 THEN 'job-1' ELSE '' END, '', '', '',
			CASE WHEN n = %[1]d / 2 THEN 'carl' WHEN n %% 2 = 0 THEN 'anna' ELSE 'bert' END FROM g`, n),
		`INSERT INTO images (job, idx, trace_id, original_filename, key_name, url, status, original_path, content_type, size, sha256,
			processed_path, error, error_code, retryable, start_time, end_time, revision, unsent, send`+relay+`)
		SELECT seq, 0, id, 'a.jpg', 'a.jpg', '', 'completed', 'path', 'image/jpeg', 1, '', '', '', '', false, 1, 1, 2, false, 1`+values+` FROM jobs`,
		`ANALYZE`)
}

// BenchmarkListFilters reads a page of 50 of 1,000 and of 100,000 jobs with each filter, and
// reports the ratio of the two median times.
func BenchmarkListFilters(b *testing.B) {
	at := func(micros int) time.Time { return time.UnixMicro(int64(micros)) }
	for _, dialect := range []string{"sqlite", "postgres"} {
		stores, counts := map[int]*Store{}, []int{1000, 100_000}
		for _, n := range counts {
			d := newDatabase(b, dialect)
			stores[n] = d.mustOpen(b)
			manyJobs(b, d, n)
		}
		for _, c := range []struct {
			name  string
			query func(n int) job.Query // of n jobs
		}{
			{"none", func(int) job.Query { return job.Query{} }},
			{"oldest", func(int) job.Query { return job.Query{Oldest: true} }},
			{"in the middle", func(n int) job.Query { return job.Query{After: job.Cursor{CreatedAt: at(n / 2), ID: "job"}} }},
			{"status of nearly all", func(int) job.Query { return filter(job.Filter{Statuses: []job.Status{job.Completed}}) }},
			{"status of one", func(int) job.Query { return filter(job.Filter{Statuses: []job.Status{job.Failed}}) }},
			{"status of none", func(int) job.Query { return filter(job.Filter{Statuses: []job.Status{job.Pending, job.Processing}}) }},
			{"every status", func(int) job.Query { return filter(job.Filter{Statuses: listed}) }},
			{"failed images", func(int) job.Query { return filter(job.Filter{FailedImages: true}) }},
			{"failed images and status", func(int) job.Query {
				return filter(job.Filter{FailedImages: true, Statuses: []job.Status{job.Failed}})
			}},
			{"owner of half", func(int) job.Query { return filter(job.Filter{Owner: "anna"}) }},
			{"owner of one", func(int) job.Query { return filter(job.Filter{Owner: "carl"}) }},
			{"owner and status of half", func(int) job.Query {
				return filter(job.Filter{Owner: "anna", Statuses: []job.Status{job.Completed}})
			}},
			{"owner and status of one", func(int) job.Query {
				return filter(job.Filter{Owner: "carl", Statuses: []job.Status{job.Completed, job.Failed}})
			}},
			{"owner and failed images", func(int) job.Query { return filter(job.Filter{Owner: "anna", FailedImages: true}) }},
			{"owner with failed images, none", func(int) job.Query { return filter(job.Filter{Owner: "bert", FailedImages: true}) }},
			{"retries", func(int) job.Query { return filter(job.Filter{RetryOf: "job-1"}) }},
			{"created in the middle", func(n int) job.Query {
				return filter(job.Filter{CreatedFrom: at(n / 2), CreatedBefore: at(n/2 + 100)})
			}},
			{"failed images in the middle", func(n int) job.Query {
				return filter(job.Filter{CreatedFrom: at(n / 2), CreatedBefore: at(n/2 + 100), FailedImages: true})
			}},
		} {
			b.Run(dialect+"/"+c.name, func(b *testing.B) {
				took := map[int][]time.Duration{}
				read := func(n int) {
					q := c.query(n)
					q.Viewer, q.Limit = job.Everybody, 50
					started := time.Now()
					_, err := stores[n].List(b.Context(), q)
					took[n] = append(took[n], time.Since(started))
					ok(b, err)
				}
				for range 10 { // PostgreSQL chooses its plan for good
					for _, n := range counts {
						read(n)
					}
				}
				clear(took)
				for b.Loop() {
					for _, n := range counts {
						read(n)
					}
				}
				median := func(n int) float64 {
					slices.Sort(took[n])
					return float64(took[n][len(took[n])/2])
				}
				b.ReportMetric(median(counts[1])/median(counts[0]), "ratio")
			})
		}
	}
}

func filter(f job.Filter) job.Query { return job.Query{Filter: f} }

// BenchmarkTally counts the jobs of everybody and of one owner, up to 1,000 of each kind, of 2,000
// and of 100,000 jobs, and reports the ratio of the two median times.
func BenchmarkTally(b *testing.B) {
	for _, dialect := range []string{"sqlite", "postgres"} {
		stores, counts := map[int]*Store{}, []int{2000, 100_000}
		for _, n := range counts {
			d := newDatabase(b, dialect)
			stores[n] = d.mustOpen(b)
			manyJobs(b, d, n)
		}
		for _, v := range []job.Viewer{job.Everybody, {Owner: "anna"}} {
			b.Run(dialect+"/"+v.Owner, func(b *testing.B) {
				took := map[int][]time.Duration{}
				for b.Loop() {
					for _, n := range counts {
						started := time.Now()
						_, err := stores[n].Tally(b.Context(), v, 1000)
						took[n] = append(took[n], time.Since(started))
						ok(b, err)
					}
				}
				for _, n := range counts {
					slices.Sort(took[n])
				}
				few, many := took[counts[0]], took[counts[1]]
				b.ReportMetric(float64(many[len(many)/2])/float64(few[len(few)/2]), "ratio")
				b.ReportMetric(float64(many[len(many)/2].Microseconds()), "µs/many")
			})
		}
	}
}
