package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// TestCollectorIsOptional verifies that a batch completes and the process stops in time,
// whatever the collector does.
func TestCollectorIsOptional(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"unavailable": nil,
		"broken":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"silent": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // otherwise the server does not notice that the client disconnects
			<-r.Context().Done()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := "http://" + freeAddr(t)
			if handler != nil {
				collector := telemetrytest.Start(t)
				collector.RespondWith(handler)
				url = collector.URL
			}
			s := forms["standalone"](t, "OTEL_EXPORTER_OTLP_ENDPOINT="+url)
			var batch []map[string]string
			for i := range 20 {
				batch = append(batch, inline(fmt.Sprintf("%d.jpg", i), goImage(t, "video-001.jpeg")))
			}
			if got := s.ended(t, s.submit(t, batch...)); got.Completed != 20 {
				t.Errorf("job %+v", got)
			}
			started := time.Now()
			if err := s.end(syscall.SIGTERM); err != nil {
				t.Errorf("stop the process: %v", err)
			}
			if took := time.Since(started); took > 10*time.Second {
				t.Errorf("the process stopped only after %s", took)
			}
		})
	}
}

// TestSecuredCollector verifies that TLS_CA_FILE applies to the collector, and that headers
// can come from a file like other secrets.
func TestSecuredCollector(t *testing.T) {
	t.Parallel()
	collector := telemetrytest.StartTLS(t)
	dir := t.TempDir()
	authority, headers := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "headers")
	for file, text := range map[string][]byte{
		authority: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: collector.Certificate().Raw}),
		headers:   []byte("x-key=hunter2\n"),
	} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := forms["standalone"](t, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "TLS_CA_FILE="+authority, "OTEL_EXPORTER_OTLP_HEADERS_FILE="+headers, "OTEL_SERVICE_NAME=pictures")
	got := s.ended(t, s.submit(t, inline("a.jpg", photo(t))))
	spans := collector.Await("the trace", func(spans []telemetrytest.Span) bool { return complete(spans, got.Images[0].TraceID, never) })
	if spans[0].Service != "pictures" || collector.Header().Get("X-Key") != "hunter2" {
		t.Errorf("service %s, headers %v", spans[0].Service, collector.Header())
	}
}

// TestTracesOff verifies that no tracing code runs without a collector, whatever else is
// set, and that with a collector, invalid settings are reported with all others.
func TestTracesOff(t *testing.T) {
	environ := []string{
		"HTTP_ADDR=127.0.0.1:0", "DATA_DIR=" + t.TempDir(), "LOG_LEVEL=error",
		"OTEL_TRACES_SAMPLER=nonsense", "OTEL_EXPORTER_OTLP_HEADERS=nonsense", "OTEL_EXPORTER_OTLP_ENDPOINT=",
	}
	s, err := newStandalone(t.Context(), environ, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, plain := s.log.Handler().(*slog.TextHandler); !plain {
		t.Errorf("the log handler is %T", s.log.Handler())
	}
	stacks := make([]byte, 1<<20)
	if stacks = stacks[:runtime.Stack(stacks, true)]; bytes.Contains(stacks, []byte("shared/telemetry")) || bytes.Contains(stacks, []byte("go.opentelemetry.io")) {
		t.Errorf("tracing goroutines are running:\n%s", stacks)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
	_, err = newStandalone(t.Context(), append(environ, "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318", "JOB_RETENTION=0s"), io.Discard)
	if err == nil {
		t.Fatal("invalid settings were accepted")
	}
	for _, want := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT: want", "OTEL_TRACES_SAMPLER", "OTEL_EXPORTER_OTLP_HEADERS: want", "JOB_RETENTION 0s"} {
		if !strings.Contains(err.Error(), "\n"+want) {
			t.Errorf("%s is missing in %v", want, err)
		}
	}
}
