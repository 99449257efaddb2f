package telemetry_test

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// TestCollectorUnavailable verifies that no span waits for a collector that does not accept spans, that Close
// waits only briefly, and that every lost span is counted.
func TestCollectorUnavailable(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for name, answer := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"503": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusServiceUnavailable)
		},
		"redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"reset": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"silent": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // so that the server notices when the client disconnects
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each waits for Close
			r := open(t)
			r.collector.RespondWith(answer)
			const n = 10_000
			for i := range n {
				_, s := r.Image(t.Context(), pipeline.NewTraceID(jobID, i), "intake")
				s.End()
			}
			started := time.Now()
			r.close()
			if took := time.Since(started); took > 8*time.Second {
				t.Errorf("Close took %s", took)
			}
			if sum := r.count("dropped") + r.count("lost"); sum != n {
				t.Errorf("%d spans were dropped and %d lost, of %d", r.count("dropped"), r.count("lost"), n)
			}
		})
	}
}

// TestCollectorRecovers verifies that waiting spans are sent when the collector is available again, and that
// the log has one line for each change.
func TestCollectorRecovers(t *testing.T) {
	r := open(t)
	var tries atomic.Int32
	r.collector.RespondWith(func(w http.ResponseWriter, _ *http.Request) {
		if tries.Add(1) == 1 {
			panic(http.ErrAbortHandler) // a network error
		}
		w.WriteHeader(http.StatusBadGateway)
	})
	_, s := r.Image(t.Context(), image, "intake")
	s.End()
	r.collector.Await("two attempts", func([]telemetrytest.Span) bool { return tries.Load() >= 2 })
	r.collector.RespondWith(nil)
	r.collector.Await("the span", func(spans []telemetrytest.Span) bool { return len(spans) == 1 })
	r.close()
	if log := r.log.String(); strings.Count(log, "level=WARN") != 1 || strings.Count(log, "level=INFO") != 1 {
		t.Errorf("the log has\n%s", log)
	}
	_, s = r.Image(t.Context(), image, "late")
	s.End()
	telemetrytest.Expect(t, r.metrics, `spans_total{outcome="exported"} 1`, `spans_total{outcome="dropped"} 1`, `spans_total{outcome="lost"} 0`)
}

// TestOnlyOurConfiguration verifies that variables that only the exporter reads have no effect, and that the
// credentials in the endpoint are used.
func TestOnlyOurConfiguration(t *testing.T) {
	for name, value := range map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS":  "x-key=theirs",
		"OTEL_EXPORTER_OTLP_PROTOCOL":        "http/json",
		"OTEL_EXPORTER_OTLP_COMPRESSION":     "gzip",
		"OTEL_EXPORTER_OTLP_INSECURE":        "false",
		"OTEL_TRACES_SAMPLER":                "always_off",
		"OTEL_RESOURCE_ATTRIBUTES":           "service.name=theirs",
	} {
		t.Setenv(name, value)
	}
	r := open(t, func(c *telemetry.Config) {
		c.Endpoint = service.SecretURL(strings.Replace(c.Endpoint.Reveal(), "http://", "http://user:hush@", 1))
	})
	_, s := r.Image(t.Context(), image, "intake")
	s.End()
	if s := one(t, r.close(), "intake"); s.Service != "gateway" {
		t.Errorf("%+v", s)
	}
	h := r.collector.Header()
	user, password, _ := (&http.Request{Header: h}).BasicAuth()
	if user != "user" || password != "hush" || h.Get("X-Key") != "" || h.Get("User-Agent") != "Imagebatch/v1.2.3" {
		t.Errorf("headers %v", h)
	}
}

// TestSecuredCollector verifies that only a collector with a certificate of the
// operator's authorities gets spans.
func TestSecuredCollector(t *testing.T) {
	for _, known := range []bool{true, false} {
		c := telemetrytest.StartTLS(t)
		c.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
		roots := x509.NewCertPool()
		if known {
			roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw}))
		}
		tracer, err := telemetry.Open(t.Context(), telemetry.Config{Endpoint: service.SecretURL(c.URL)}, telemetry.Process{
			Name: "gateway", Roots: roots, Log: slog.New(slog.DiscardHandler), Metrics: telemetry.NewRegistry(),
		})
		if err != nil {
			t.Fatal(err)
		}
		_, s := tracer.Image(t.Context(), image, "intake")
		s.End()
		if err := tracer.Close(); err != nil {
			t.Fatal(err)
		}
		if got := len(c.Spans()) == 1; got != known {
			t.Errorf("the authority is known: %t, the span arrives: %t", known, got)
		}
	}
}
