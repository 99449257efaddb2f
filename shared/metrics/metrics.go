// Package metrics counts and measures behind standard types. A Registry belongs
// to one process or test: there is no global one. It is the only importer of
// the Prometheus client library.
//
// Names get the prefix imagebatch_ and follow the Prometheus conventions: base
// units, _total for counters, bounded labels. A job id is never a label.
//
// Parts of one process may ask for the same metric and share it. Asking for a
// name with another kind, help, label or bucket is a fault of the program and
// panics, in the constructor. Using a metric never panics: a value that it
// cannot take (too few labels, a counter that would fall) is left out and
// counted in imagebatch_metrics_faults_total, and what is no UTF-8 in a label is
// replaced.
package metrics

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/imagebatch/imagebatch/shared/buildinfo"
)

const namespace = "imagebatch"

// Registry holds the metrics of one process.
type Registry struct {
	registry *prometheus.Registry
	faults   prometheus.Counter

	mu      sync.Mutex           // guards what the client library does not compare
	buckets map[string][]float64 // of histograms, by name
	reads   map[string]*shares   // of gauge functions, by name

	known   sync.Mutex // guards metrics
	metrics map[string]Metric
}

// Metric describes what a registry was asked for.
type Metric struct {
	Name   string // with its prefix
	Type   string // counter, gauge or histogram
	Help   string
	Labels []string
}

// Metrics describes every metric that was asked for so far, in the order of names,
// whether it has a value yet or not. Those of the runtime and the process are not
// among them.
func (r *Registry) Metrics() []Metric {
	r.known.Lock()
	defer r.known.Unlock()
	return slices.SortedFunc(maps.Values(r.metrics), func(a, b Metric) int { return strings.Compare(a.Name, b.Name) })
}

func (r *Registry) describe(kind, name, help string, labels ...string) {
	r.known.Lock()
	defer r.known.Unlock()
	r.metrics[name] = Metric{Name: namespace + "_" + name, Type: kind, Help: help, Labels: slices.Clone(labels)}
}

// New makes a registry with the metrics of the Go runtime, of the process and of
// the build.
func New() *Registry {
	const faultsHelp = "Values that a metric could not take."
	r := &Registry{
		registry: prometheus.NewRegistry(),
		faults: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "metrics_faults_total", Help: faultsHelp,
		}),
		buckets: map[string][]float64{},
		reads:   map[string]*shares{},
		metrics: map[string]Metric{},
	}
	const buildHelp = "Always 1; the labels tell the build."
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: buildHelp,
	}, []string{"version", "commit", "goversion"})
	r.describe("counter", "metrics_faults_total", faultsHelp)
	r.describe("gauge", "build_info", buildHelp, "version", "commit", "goversion")
	build.WithLabelValues(buildinfo.Version, buildinfo.Commit(), runtime.Version()).Set(1)
	r.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		build, r.faults,
	)
	return r
}

// Handler answers scrapes: at most four at once, each within ten seconds.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Counter only grows.
type Counter struct {
	vec    *prometheus.CounterVec
	faults prometheus.Counter
}

// Counter returns the counter of that name, made at the first call. Without
// labels it is there as 0 from then on.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	vec := register(r, prometheus.NewCounterVec(
		prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels))
	r.describe("counter", name, help, labels...)
	if len(labels) == 0 {
		vec.WithLabelValues()
	}
	return &Counter{vec, r.faults}
}

// Inc adds one. There is a value for each label.
func (c *Counter) Inc(labelValues ...string) { c.Add(1, labelValues...) }

// Add adds n, which is not negative.
func (c *Counter) Add(n float64, labelValues ...string) {
	counter, err := c.vec.GetMetricWithLabelValues(readable(labelValues)...)
	if err != nil || !(n >= 0) { // and not n < 0, which NaN would pass
		c.faults.Inc()
		return
	}
	counter.Add(n)
}

// From0 makes the counter be there as 0 for each value of its label, the only one it
// has. What nobody has counted yet is not there, so that its first increase is none for
// Prometheus, and a dashboard cannot tell "never" from "nobody knows".
func (c *Counter) From0(values ...string) *Counter {
	for _, v := range values {
		c.Add(0, v)
	}
	return c
}

// Gauge goes up and down.
type Gauge struct {
	vec    *prometheus.GaugeVec
	faults prometheus.Counter
}

// Gauge returns the gauge of that name, like [Registry.Counter].
func (r *Registry) Gauge(name, help string, labels ...string) *Gauge {
	vec := register(r, prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels))
	r.describe("gauge", name, help, labels...)
	if len(labels) == 0 {
		vec.WithLabelValues()
	}
	return &Gauge{vec, r.faults}
}

// Set sets the value.
func (g *Gauge) Set(v float64, labelValues ...string) {
	if gauge, ok := g.of(labelValues); ok {
		gauge.Set(v)
	}
}

// Add adds n, which may be negative.
func (g *Gauge) Add(n float64, labelValues ...string) {
	if gauge, ok := g.of(labelValues); ok {
		gauge.Add(n)
	}
}

func (g *Gauge) of(labelValues []string) (prometheus.Gauge, bool) {
	gauge, err := g.vec.GetMetricWithLabelValues(readable(labelValues)...)
	if err != nil {
		g.faults.Inc()
	}
	return gauge, err == nil
}

// GaugeFunc reads a value at each scrape; read is quick and may be called from
// several goroutines. Parts that share a name each tell their share: the gauge
// is the sum.
func (r *Registry) GaugeFunc(name, help string, read func() float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.reads[name]
	if s == nil {
		s = &shares{help: help}
	}
	if s.help != help {
		panic(fmt.Sprintf("metrics: %s is used with two helps", name))
	}
	s.add(read)
	if r.reads[name] == nil {
		register(r, prometheus.NewGaugeFunc(
			prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, s.sum))
		r.reads[name] = s
		r.describe("gauge", name, help)
	}
}

// shares are the functions of one gauge.
type shares struct {
	help  string
	mu    sync.Mutex
	reads []func() float64
}

func (s *shares) add(read func() float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, read)
}

func (s *shares) sum() float64 {
	s.mu.Lock()
	reads := slices.Clone(s.reads)
	s.mu.Unlock()
	var sum float64
	for _, read := range reads {
		sum += read()
	}
	return sum
}

// Histogram counts observations in buckets.
type Histogram struct {
	vec    *prometheus.HistogramVec
	faults prometheus.Counter
}

// Histogram returns the histogram of that name, like [Registry.Counter]. Buckets
// are upper bounds, in ascending order; without any they are the library's, made
// for seconds from 5 ms to 10 s. A Prometheus that asks for native histograms gets
// one of those too, of 160 buckets at most, each a tenth wider than the last.
func (r *Registry) Histogram(name, help string, buckets []float64, labels ...string) *Histogram {
	r.mu.Lock()
	defer r.mu.Unlock()
	if known, ok := r.buckets[name]; ok && !slices.Equal(known, buckets) {
		panic(fmt.Sprintf("metrics: %s is used with the buckets %v and %v", name, known, buckets))
	}
	vec := register(r, prometheus.NewHistogramVec(
		prometheus.HistogramOpts{
			Namespace: namespace, Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}, labels))
	r.buckets[name] = slices.Clone(buckets)
	r.describe("histogram", name, help, labels...)
	if len(labels) == 0 {
		vec.WithLabelValues()
	}
	return &Histogram{vec, r.faults}
}

// Observe adds one observation.
func (h *Histogram) Observe(v float64, labelValues ...string) {
	histogram, err := h.vec.GetMetricWithLabelValues(readable(labelValues)...)
	if err != nil {
		h.faults.Inc()
		return
	}
	histogram.Observe(v)
}

// readable replaces what is no UTF-8, which a stranger may have sent. The
// library would refuse the value.
func readable(labelValues []string) []string {
	for i, v := range labelValues {
		if fixed := strings.ToValidUTF8(v, "\uFFFD"); fixed != v {
			labelValues = slices.Clone(labelValues)
			labelValues[i] = fixed
		}
	}
	return labelValues
}

// register registers c, or returns the collector that is registered with the
// same name, help and labels.
func register[C prometheus.Collector](r *Registry, c C) C {
	err := r.registry.Register(c)
	if again, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if existing, same := again.ExistingCollector.(C); same {
			return existing
		}
	}
	if err != nil {
		panic("metrics: " + err.Error())
	}
	return c
}
