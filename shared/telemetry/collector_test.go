package telemetry_test

import (
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/imagebatch/imagebatch/shared/pipeline"
	"github.com/imagebatch/imagebatch/shared/service"
	"github.com/imagebatch/imagebatch/shared/telemetry"
	"github.com/imagebatch/imagebatch/shared/telemetry/telemetrytest"
)

// TestCollectorAway holds that nobody waits for a collector that does not take what
// it is sent, whatever it does instead, that the end of the process hardly does, and
// that what is lost is counted.
func TestCollectorAway(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	for name, answer := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"503": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(http.StatusServiceUnavailable)
		},
		"moves on": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"breaks off": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"silent": func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // else the server does not notice that the client goes
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t)
			r.collector.Answer(answer)
			const n = 10_000
			for i := range n {
				_, s := r.Image(t.Context(), pipeline.NewTraceID(jobID, i), "intake")
				s.End()
			}
			began := time.Now()
			r.close()
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("closing took %s", took)
			}
			if sum := r.count("dropped") + r.count("lost"); sum != n {
				t.Errorf("%d spans were dropped and %d lost, of %d", r.count("dropped"), r.count("lost"), n)
			}
		})
	}
}

// TestCollectorComesBack holds that what waits is sent when the collector takes it
// again.
func TestCollectorComesBack(t *testing.T) {
	r := open(t)
	r.collector.Answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	_, s := r.Image(t.Context(), image, "intake")
	s.End()
	r.collector.Await("two tries", func([]telemetrytest.Span) bool { return r.collector.Requests() >= 2 })
	r.collector.Answer(nil)
	r.collector.Await("the span", func(spans []telemetrytest.Span) bool { return len(spans) == 1 })
}

// TestSecuredCollector holds that a collector is believed by the authorities that
// the operator names, and else not.
func TestSecuredCollector(t *testing.T) {
	for _, known := range []bool{true, false} {
		c := telemetrytest.StartTLS(t)
		c.Server().Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
		roots := x509.NewCertPool()
		if known {
			roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Server().Certificate().Raw}))
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
