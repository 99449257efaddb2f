// Package metrics counts and measures behind standard types. A Registry belongs
// to one process or test: there is no global one. It is the only importer of
// the Prometheus client library.
//
// Names get the prefix imagebatch_ and follow the Prometheus conventions: base
// units, _total for counters, bounded labels. A job id is never a label.
package metrics

import (
	"net/http"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const namespace = "imagebatch"

// Registry holds the metrics of one process.
type Registry struct{ registry *prometheus.Registry }

// New makes a registry with the metrics of the Go runtime, of the process and of
// the build.
func New() *Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels tell the build.",
	}, []string{"version", "goversion"})
	version, goversion := "unknown", "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version, goversion = info.Main.Version, info.GoVersion
	}
	build.WithLabelValues(version, goversion).Set(1)
	r.MustRegister(build)
	return &Registry{r}
}

// Handler answers scrapes.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Counter only grows.
type Counter struct{ vec *prometheus.CounterVec }

// Counter returns the counter of that name, made at the first call. A name that
// is already used for something else is a fault of the program and panics.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	return &Counter{register(r, prometheus.NewCounterVec(
		prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels))}
}

// Inc adds one. There is a value for each label.
func (c *Counter) Inc(labelValues ...string) { c.vec.WithLabelValues(labelValues...).Inc() }

// Add adds n, which is not negative.
func (c *Counter) Add(n float64, labelValues ...string) { c.vec.WithLabelValues(labelValues...).Add(n) }

// Gauge goes up and down.
type Gauge struct{ vec *prometheus.GaugeVec }

// Gauge returns the gauge of that name, like [Registry.Counter].
func (r *Registry) Gauge(name, help string, labels ...string) *Gauge {
	return &Gauge{register(r, prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels))}
}

// Set sets the value.
func (g *Gauge) Set(v float64, labelValues ...string) { g.vec.WithLabelValues(labelValues...).Set(v) }

// Add adds n, which may be negative.
func (g *Gauge) Add(n float64, labelValues ...string) { g.vec.WithLabelValues(labelValues...).Add(n) }

// GaugeFunc reads a value at each scrape. The name is used once in a Registry.
func (r *Registry) GaugeFunc(name, help string, read func() float64) {
	r.registry.MustRegister(prometheus.NewGaugeFunc(
		prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, read))
}

// Histogram counts observations in buckets.
type Histogram struct{ vec *prometheus.HistogramVec }

// Histogram returns the histogram of that name, like [Registry.Counter].
func (r *Registry) Histogram(name, help string, buckets []float64, labels ...string) *Histogram {
	return &Histogram{register(r, prometheus.NewHistogramVec(
		prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels))}
}

// Observe adds one observation.
func (h *Histogram) Observe(v float64, labelValues ...string) {
	h.vec.WithLabelValues(labelValues...).Observe(v)
}

// register registers c, or returns the collector that is registered with the
// same name, help and labels.
func register[C prometheus.Collector](r *Registry, c C) C {
	err := r.registry.Register(c)
	if are, ok := err.(prometheus.AlreadyRegisteredError); ok { //nolint:errorlint // Register returns it bare.
		if existing, same := are.ExistingCollector.(C); same {
			return existing
		}
	}
	if err != nil {
		panic("metrics: " + err.Error())
	}
	return c
}
