package gateway

import (
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/gateway/internal/job"
	"github.com/imagebatch/imagebatch/gateway/internal/job/sqlstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// TestOneRootSpanPerImage lets images end in every possible way, twice where possible,
// and verifies that each trace has one root span with the outcome.
func TestOneRootSpanPerImage(t *testing.T) {
	ctx := t.Context()
	log := slog.New(slog.DiscardHandler)
	store, err := sqlstore.OpenSQLite(ctx, filepath.Join(t.TempDir(), "jobs.db"), log)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	collector := telemetrytest.Start(t)
	tracer, err := telemetry.Open(t.Context(), telemetry.Config{Endpoint: service.SecretURL(collector.URL)}, telemetry.Process{Name: "gateway", Log: log, Metrics: telemetry.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	started := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	now := started.Add(time.Second)
	o := newOutcomes(store, telemetry.NewRegistry(), tracer, func() time.Time { return now })
	lease := job.Lease{Owner: "us", Until: started.Add(time.Hour)}
	create := func(id string, images ...job.Image) {
		t.Helper()
		j := job.New(id, images, started)
		j.Lease, j.Origin = lease, "1764064799000000 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		if err := o.Create(ctx, j); err != nil {
			t.Fatal(err)
		}
	}
	change := func(id string, index int, transition job.Transition) {
		t.Helper()
		for range 2 { // as if each message was delivered twice
			if _, _, err := o.Change(ctx, job.Ref{JobID: id, Index: index}, transition, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	result := func(id string, index int, r pipeline.Result) job.Transition {
		r.Envelope = pipeline.NewEnvelope(id, index, now)
		return job.Settle(r, now)
	}
	stored := job.Image{Original: job.Original{Path: "p", Size: 1000}}
	remote := job.Image{URL: "https://example.com/a.jpg?token=hush"}
	create("done", stored, job.Image{Status: job.Failed, Error: "Invalid base64 data", ErrorCode: pipeline.CodeInvalidBase64}, remote)
	change("done", 2, job.Start(lease, now))
	change("done", 2, job.FetchFailed(lease, &pipeline.Failure{Code: pipeline.CodeDownloadFailed, Text: "Failed to download image: timed out"}, now))
	change("done", 0, result("done", 0, pipeline.Result{Status: pipeline.Completed, ProcessedPath: "x"}))
	change("done", 0, result("done", 0, pipeline.Result{Status: pipeline.Failed, ErrorCode: pipeline.CodeProcessingFailed})) // too late
	create("cancelled", stored, stored)
	change("cancelled", 0, result("cancelled", 0, pipeline.Result{Status: pipeline.Completed, ProcessedPath: "x"}))
	for range 2 {
		if _, _, err := o.Cancel(ctx, "cancelled", now); err != nil {
			t.Fatal(err)
		}
	}
	change("cancelled", 1, result("cancelled", 1, pipeline.Result{Status: pipeline.Completed, ProcessedPath: "x"})) // too late
	if err := tracer.Close(); err != nil {
		t.Fatal(err)
	}

	spans := collector.Spans()
	for _, want := range []struct {
		id         string
		index      int
		code, text string
		source     string
		took       time.Duration
	}{
		{"done", 0, "", "", "inline", time.Second},
		{"done", 1, "invalid_base64", "Invalid base64 data", "inline", 0},
		{"done", 2, "download_failed", "Failed to download image: timed out", "url", time.Second},
		{"cancelled", 0, "", "", "inline", time.Second},
		{"cancelled", 1, "cancelled", "Cancelled", "inline", time.Second},
	} {
		var roots []telemetrytest.Span
		for _, s := range spans {
			if s.TraceID == string(pipeline.NewTraceID(want.id, want.index)) {
				roots = append(roots, s)
			}
		}
		if len(roots) != 1 {
			t.Errorf("image %d of %s: want one root span, got\n%s", want.index, want.id, telemetrytest.List(roots))
			continue
		}
		s := roots[0]
		if s.Name != "image" || s.Parent != "" || s.Attributes["error_code"] != want.code || s.Message != want.text || s.Failed != (want.code != "") ||
			s.Attributes["source"] != want.source || s.End.Sub(started) != want.took || len(s.Links) != 1 {
			t.Errorf("got %+v, want %+v", s, want)
		}
	}
	if len(spans) != 5 {
		t.Errorf("got %d spans, want 5:\n%s", len(spans), telemetrytest.List(spans))
	}
}
