package telemetry_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"github.com/imagebatch/imagebatch/shared/broker"
	"github.com/imagebatch/imagebatch/shared/broker/membroker"
	"github.com/imagebatch/imagebatch/shared/objectstore"
	"github.com/imagebatch/imagebatch/shared/objectstore/dirstore"
	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
)

// printLines prints the lines of a scrape that contain the text.
func printLines(m *telemetry.Registry, text string) {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.Contains(line, text) && !strings.HasPrefix(line, "#") {
			fmt.Print(line)
		}
	}
}

func ExampleRegistry() {
	m := telemetry.NewRegistry()
	images := m.Counter("images_total", "Images that ended, by status.", "status").From0("completed", "failed")
	images.Inc("completed")
	images.Inc("completed", "one label too many") // counts a fault instead of a panic
	printLines(m, "imagebatch_images_total")
	printLines(m, "faults")
	// Output:
	// imagebatch_images_total{status="completed"} 1
	// imagebatch_images_total{status="failed"} 0
	// imagebatch_metrics_faults_total 1
}

func ExampleStore() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	folder, err := dirstore.Open(dir)
	if err != nil {
		panic(err)
	}
	defer folder.Close()
	m := telemetry.NewRegistry()
	store := telemetry.Store(folder, "originals", m, nil) // without traces
	if err := store.Put(context.Background(), "id/a.jpg", objectstore.Content{Data: []byte("0123456789"), Type: "image/jpeg"}); err != nil {
		panic(err)
	}
	_, _ = store.Stat(context.Background(), "id/b.jpg")
	printLines(m, "objectstore_operations_total")
	printLines(m, "objectstore_bytes_total")
	// Output:
	// imagebatch_objectstore_operations_total{operation="put",outcome="ok",store="originals"} 1
	// imagebatch_objectstore_operations_total{operation="stat",outcome="not_found",store="originals"} 1
	// imagebatch_objectstore_bytes_total{operation="put",store="originals"} 10
}

// A message carries the trace of the image, so that the consumer's spans are below the
// publisher's, in whatever process it runs.
func ExampleBroker() {
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer collector.Close()
	m := telemetry.NewRegistry()
	tracer, err := telemetry.Open(context.Background(), telemetry.Config{Endpoint: service.SecretURL(collector.URL)},
		telemetry.Process{Name: "gateway", Log: slog.New(slog.DiscardHandler), Metrics: m})
	if err != nil {
		panic(err)
	}
	memory := membroker.New("image_upload")
	defer memory.Close()
	b := telemetry.Broker(memory, m, tracer)

	ctx, stop := context.WithCancel(context.Background())
	image := pipeline.NewTraceID("550e8400-e29b-41d4-a716-446655440000", 0)
	if err := b.Publish(tracer.Within(ctx, image), "image_upload", broker.Message{Body: []byte("{}")}); err != nil {
		panic(err)
	}
	err = b.Consume(ctx, "image_upload", 1, func(_ context.Context, d broker.Delivery) error {
		defer stop()
		fmt.Println(strings.Contains(d.Headers["traceparent"], string(image)))
		return d.Ack()
	})
	if err != nil {
		panic(err)
	}
	if err := tracer.Close(); err != nil { // exports the publish and the time in the queue
		panic(err)
	}
	printLines(m, `spans_total{outcome="exported"}`)
	// Output:
	// true
	// imagebatch_spans_total{outcome="exported"} 2
}
