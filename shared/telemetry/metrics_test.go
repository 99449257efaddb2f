package telemetry

import (
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

var seconds = []float64{.01, .1, 1, 10}

// sample fills a registry the way services do.
func sample() *Registry {
	r := NewRegistry()
	c := r.Counter("images_total", "Images that ended, by status.", "status")
	c.Inc("completed")
	c.Add(2, "failed")
	r.Counter("notifications_lost_total", "Notifications that could not be sent.")
	g := r.Gauge("websockets", "Open WebSockets.")
	g.Set(5)
	g.Add(-2)
	r.GaugeFunc("open_images", "Images that have not ended.", func() float64 { return 7 })
	h := r.Histogram("step_duration_seconds", "Time of a step.", seconds, "stage")
	h.Observe(.05, "analyze")
	h.Observe(3, "analyze")
	return r
}

func scrape(t *testing.T, r *Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	r.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	text, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusOK {
		t.Fatalf("the scrape returns status %d, %v", w.Code, err)
	}
	return string(text)
}

func expectLines(t *testing.T, r *Registry, lines ...string) {
	t.Helper()
	text := "\n" + scrape(t, r)
	for _, line := range lines {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("the scrape has no line %q", line)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "imagebatch_") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}

func TestScrape(t *testing.T) {
	r := sample()
	expectLines(t, r,
		`imagebatch_images_total{status="completed"} 1`,
		`imagebatch_images_total{status="failed"} 2`,
		`imagebatch_notifications_lost_total 0`,
		`imagebatch_websockets 3`,
		`imagebatch_open_images 7`,
		`imagebatch_step_duration_seconds_bucket{stage="analyze",le="0.1"} 1`,
		`imagebatch_step_duration_seconds_bucket{stage="analyze",le="+Inf"} 2`,
		`imagebatch_step_duration_seconds_sum{stage="analyze"} 3.05`,
		`imagebatch_metrics_faults_total 0`,
	)
	for _, name := range []string{"go_goroutines ", "process_open_fds ", "imagebatch_build_info{"} {
		if !strings.Contains(scrape(t, r), "\n"+name) {
			t.Errorf("the scrape has no %s", name)
		}
	}
}

func TestNamesAndHelpTextsPassPromlint(t *testing.T) {
	problems, err := testutil.GatherAndLint(sample().registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "imagebatch_") { // the rest is the library's own
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestMetricsAreDescribed(t *testing.T) {
	var names []string
	for _, m := range sample().Metrics() {
		names = append(names, m.Name)
		if m.Name == "imagebatch_step_duration_seconds" && (m.Type != "histogram" || m.Help != "Time of a step." || !slices.Equal(m.Labels, []string{"stage"})) {
			t.Errorf("described as %+v", m)
		}
	}
	if want := []string{
		"imagebatch_build_info", "imagebatch_images_total", "imagebatch_metrics_faults_total", "imagebatch_notifications_lost_total",
		"imagebatch_open_images", "imagebatch_step_duration_seconds", "imagebatch_websockets",
	}; !slices.Equal(names, want) {
		t.Errorf("got descriptions of %q, want %q", names, want)
	}
}

// TestHistogramsAreNativeToo scrapes like a Prometheus server that requests native histograms.
func TestHistogramsAreNativeToo(t *testing.T) {
	all, err := sample().registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() != "imagebatch_step_duration_seconds" {
			continue
		}
		h := f.GetMetric()[0].GetHistogram()
		if len(h.GetPositiveSpan()) == 0 || h.GetSchema() < 1 || len(h.GetBucket()) != len(seconds) {
			t.Errorf("native buckets %v of schema %d and %d classic ones", h.GetPositiveSpan(), h.GetSchema(), len(h.GetBucket()))
		}
	}
}

func TestSameMetricIsShared(t *testing.T) {
	r := sample()
	r.Counter("images_total", "Images that ended, by status.", "status").Inc("completed")
	r.Gauge("websockets", "Open WebSockets.").Add(1)
	r.GaugeFunc("open_images", "Images that have not ended.", func() float64 { return 3 })
	r.Histogram("step_duration_seconds", "Time of a step.", seconds, "stage").Observe(.05, "analyze")
	expectLines(t, r,
		`imagebatch_images_total{status="completed"} 2`,
		`imagebatch_websockets 4`,
		`imagebatch_open_images 10`,
		`imagebatch_step_duration_seconds_count{stage="analyze"} 3`,
	)
}

func TestRegistriesShareNothing(t *testing.T) {
	one, two := sample(), sample()
	one.Counter("notifications_lost_total", "Notifications that could not be sent.").Inc()
	expectLines(t, one, "imagebatch_notifications_lost_total 1")
	expectLines(t, two, "imagebatch_notifications_lost_total 0")
}

func TestOtherMetricWithTheSameNamePanics(t *testing.T) {
	for name, conflict := range map[string]func(r *Registry){
		"kind":             func(r *Registry) { r.Gauge("images_total", "Images that ended, by status.", "status") },
		"help":             func(r *Registry) { r.Counter("images_total", "Something else.", "status") },
		"labels":           func(r *Registry) { r.Counter("images_total", "Images that ended, by status.", "stage") },
		"buckets":          func(r *Registry) { r.Histogram("step_duration_seconds", "Time of a step.", []float64{1}, "stage") },
		"help of function": func(r *Registry) { r.GaugeFunc("open_images", "Something else.", func() float64 { return 0 }) },
		"function":         func(r *Registry) { r.GaugeFunc("websockets", "Open WebSockets.", func() float64 { return 0 }) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("the metric was accepted")
				}
			}()
			conflict(sample())
		})
	}
}

func TestUseNeverPanics(t *testing.T) {
	r := sample()
	c := r.Counter("images_total", "Images that ended, by status.", "status")
	c.Inc()
	c.Inc("completed", "too many")
	c.Add(-1, "completed")
	c.Add(math.NaN(), "completed")
	r.Gauge("websockets", "Open WebSockets.").Set(1, "too many")
	r.Gauge("websockets", "Open WebSockets.").Add(1, "too many")
	r.Histogram("step_duration_seconds", "Time of a step.", seconds, "stage").Observe(1)
	c.Inc("sent by a cl\xffient")
	expectLines(t, r,
		`imagebatch_metrics_faults_total 7`,
		`imagebatch_images_total{status="completed"} 1`,
		"imagebatch_images_total{status=\"sent by a cl\uFFFDient\"} 1",
		`imagebatch_websockets 3`,
	)
}

func TestUseFromManyGoroutines(t *testing.T) {
	r := sample()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				r.Counter("images_total", "Images that ended, by status.", "status").Inc("completed")
				r.Histogram("step_duration_seconds", "Time of a step.", seconds, "stage").Observe(.05, "process")
			}
			r.GaugeFunc("open_images", "Images that have not ended.", func() float64 { return 1 })
			if _, err := r.registry.Gather(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	expectLines(t, r,
		`imagebatch_images_total{status="completed"} 801`,
		`imagebatch_step_duration_seconds_count{stage="process"} 800`,
		`imagebatch_open_images 15`,
	)
}

func TestFrom0(t *testing.T) {
	r := NewRegistry()
	r.Counter("images_total", "Images that ended, by status.", "status").From0("completed", "failed").Inc("failed")
	expectLines(t, r, `imagebatch_images_total{status="completed"} 0`, `imagebatch_images_total{status="failed"} 1`)
}
