package telemetry_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// BenchmarkImage measures the spans of one inline image, including their export.
func BenchmarkImage(b *testing.B) {
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer collector.Close()
	for name, c := range map[string]telemetry.Config{
		"off":        {},
		"unrecorded": {Endpoint: service.SecretURL(collector.URL), Sampler: "parentbased_always_off"},
		"recorded":   {Endpoint: service.SecretURL(collector.URL)},
	} {
		b.Run(name, func(b *testing.B) {
			tracer, err := telemetry.Open(b.Context(), c, telemetry.Process{Name: "gateway", Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry()})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for i := range b.N {
				id := image
				if c.Endpoint != "" {
					id = pipeline.NewTraceID(jobID, i)
				}
				ctx := b.Context()
				for range 7 {
					work, span := tracer.Consumed(ctx, id, "analysis")
					span.Image(jobID, i)
					span.SetInt("attempt", 1)
					_, part := tracer.Part(work, "GET originals")
					part.SetInt("bytes", 400_000)
					part.End()
					span.End()
				}
				tracer.Ended(b.Context(), telemetry.ImageEnd{Image: id, JobID: jobID, Index: i, Source: "inline", Created: time.Time{}, Ended: time.Time{}})
			}
			if err := tracer.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
