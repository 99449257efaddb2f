package gateway

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// TestOutcomesAreCountedOnce lets jobs end in every possible way.
func TestOutcomesAreCountedOnce(t *testing.T) {
	ctx := t.Context()
	store, err := sqlstore.OpenSQLite(ctx, filepath.Join(t.TempDir(), "jobs.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	m := telemetry.NewRegistry()
	started := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	now := started
	o := newOutcomes(store, m, nil, func() time.Time { return now })
	ended := 0
	o.ended = func() { ended++ }

	lease := job.Lease{Owner: "us", Until: started.Add(time.Hour)}
	create := func(id string, images ...job.Image) {
		t.Helper()
		j := job.New(id, images, started)
		j.Lease = lease
		if err := o.Create(ctx, j); err != nil {
			t.Fatal(err)
		}
	}
	change := func(id string, index int, transition job.Transition) {
		t.Helper()
		if _, _, err := o.Change(ctx, job.Ref{JobID: id, Index: index}, transition, now); err != nil {
			t.Fatal(err)
		}
	}
	settle := func(id string, index int, r pipeline.Result) {
		t.Helper()
		r.Envelope = pipeline.NewEnvelope(id, index, now)
		change(id, index, job.Settle(r, now))
	}
	stored := job.Image{Original: job.Original{Path: "p", Size: 1000}}
	failed := job.Image{Status: job.Failed, Error: "no", ErrorCode: pipeline.CodeNotAnImage}
	remote := job.Image{URL: "https://example.com/a.jpg"}

	create("done", stored, failed, remote)
	now = started.Add(20 * time.Second)
	if _, err := o.Unsent(ctx, 10); err != nil {
		t.Fatal(err)
	}
	telemetrytest.Expect(t, m, `oldest_unsent_upload_age_seconds 20`)
	change("done", 2, job.Start(lease, now))
	change("done", 2, job.Fetched(lease, job.Original{Path: "q", Size: 500}))
	completed := pipeline.Result{Status: pipeline.Completed, ProcessedPath: "x"}
	settle("done", 0, completed)
	settle("done", 0, completed) // as if a message was delivered twice
	settle("done", 2, pipeline.Result{Status: pipeline.Failed, Error: "no", ErrorCode: "of a later release"})
	if _, err := o.Unsent(ctx, 10); err != nil {
		t.Fatal(err)
	}
	telemetrytest.Expect(t, m, `oldest_unsent_upload_age_seconds 0`)

	create("cancelled", stored, stored, failed)
	settle("cancelled", 0, completed)
	for range 2 {
		if _, _, err := o.Cancel(ctx, "cancelled", now); err != nil {
			t.Fatal(err)
		}
	}
	create("failed", failed)

	if ended != 3 {
		t.Errorf("the deliveries of webhooks were woken %d times, want for each of the 3 jobs", ended)
	}
	telemetrytest.Expect(t, m,
		`images_accepted_total{source="inline"} 6`,
		`images_accepted_total{source="url"} 1`,
		`original_bytes_total{source="inline"} 3000`,
		`original_bytes_total{source="url"} 500`,
		`images_ended_total{code="",status="completed"} 2`,
		`images_ended_total{code="not_an_image",status="failed"} 3`,
		`images_ended_total{code="other",status="failed"} 1`,
		`images_ended_total{code="cancelled",status="failed"} 1`,
		`images_ended_total{code="processing_failed",status="failed"} 0`,
		`jobs_ended_total{status="completed"} 1`,
		`jobs_ended_total{status="cancelled"} 1`,
		`jobs_ended_total{status="failed"} 1`,
		`image_duration_seconds_sum{status="completed"} 40`,
		`job_duration_seconds_sum{status="completed"} 20`,
		`metrics_faults_total 0`,
	)
}
