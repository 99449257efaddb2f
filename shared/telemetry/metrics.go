package telemetry

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
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

// networkBuckets are the buckets, in seconds, for one network operation.
var networkBuckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// Registry holds the metrics of one process.
type Registry struct {
	registry *prometheus.Registry
	faults   *Counter

	mu         sync.Mutex // guards registered
	registered map[string]registration
}

type registration struct {
	Metric
	buckets   []float64
	collector prometheus.Collector
}

// Metric describes a metric of a registry.
type Metric struct {
	Name   string // with the prefix imagebatch_
	Type   string // counter, gauge or histogram
	Help   string
	Labels []string
}

// NewRegistry returns a registry with the metrics of the Go runtime, the process
// and the build.
func NewRegistry() *Registry {
	r := &Registry{registry: prometheus.NewRegistry(), registered: map[string]registration{}}
	r.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.faults = r.Counter("metrics_faults_total", "Values that a metric rejected.")
	r.Gauge("build_info", "Always 1; the labels describe the build.", "version", "commit", "goversion").
		Set(1, buildinfo.Version, buildinfo.Commit(), runtime.Version())
	return r
}

// Metrics returns the description of every metric, ordered by name, without the metrics of the runtime and the
// process. It includes metrics that have no value yet.
func (r *Registry) Metrics() []Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Metric
	for _, name := range slices.Sorted(maps.Keys(r.registered)) {
		all = append(all, r.registered[name].Metric)
	}
	return all
}

// Handler serves scrapes: at most four concurrently, each within ten seconds.
func (r *Registry) Handler() http.Handler {
	return promhttp.HandlerFor(r.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// register returns the collector of a metric. The first call creates and registers
// it.
func register[C prometheus.Collector](r *Registry, m Metric, buckets []float64, create func(fullName string) C) C {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.Name = "imagebatch_" + m.Name
	known, ok := r.registered[m.Name]
	if !ok {
		c := create(m.Name)
		r.registry.MustRegister(c)
		r.registered[m.Name] = registration{m, slices.Clone(buckets), c}
		return c
	}
	c, same := known.collector.(C)
	if !same || !reflect.DeepEqual(known.Metric, m) || !slices.Equal(known.buckets, buckets) {
		panic(fmt.Sprintf("telemetry: %s is registered both as %+v %v and as %+v %v", m.Name, known.Metric, known.buckets, m, buckets))
	}
	return c
}

// vec is a vector of the Prometheus library.
type vec[V any] interface {
	prometheus.Collector
	GetMetricWithLabelValues(labelValues ...string) (V, error)
}

// vector finds the value of a metric by the values of its labels.
type vector[V any] struct {
	vec    vec[V]
	faults *Counter
}

// newVector registers a vector. A vector without labels has a value from the start.
func newVector[V any, C vec[V]](r *Registry, m Metric, buckets []float64, create func(fullName string) C) vector[V] {
	v := vector[V]{register(r, m, buckets, create), r.faults}
	if len(m.Labels) == 0 {
		v.with(nil)
	}
	return v
}

// with returns the value for the labels, or counts a fault. It replaces invalid UTF-8, which may come from a
// client and which the library would reject.
func (v vector[V]) with(labelValues []string) (V, bool) {
	for i, value := range labelValues {
		if valid := strings.ToValidUTF8(value, "\uFFFD"); valid != value {
			labelValues = slices.Clone(labelValues)
			labelValues[i] = valid
		}
	}
	value, err := v.vec.GetMetricWithLabelValues(labelValues...)
	if err != nil {
		v.faults.Inc()
	}
	return value, err == nil
}

// Counter is a value that only increases.
type Counter struct{ vector[prometheus.Counter] }

// Counter returns the counter with that name; the first call creates it. A counter
// without labels starts at 0.
func (r *Registry) Counter(name, help string, labels ...string) *Counter {
	return &Counter{newVector(r, Metric{name, "counter", help, labels}, nil, func(fullName string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: fullName, Help: help}, labels)
	})}
}

// Inc adds one. There is one value for each label.
func (c *Counter) Inc(labelValues ...string) { c.Add(1, labelValues...) }

// Add adds n, which must not be negative.
func (c *Counter) Add(n float64, labelValues ...string) {
	counter, ok := c.with(labelValues)
	switch {
	case !ok:
	case n >= 0:
		counter.Add(n)
	default: // also NaN
		c.faults.Inc()
	}
}

// From0 creates the counter as 0 for each value of its only label. Without it, Prometheus would miss the first
// increase, and a dashboard could not distinguish "never" from "unknown".
func (c *Counter) From0(values ...string) *Counter {
	for _, v := range values {
		c.Add(0, v)
	}
	return c
}

// Gauge is a value that can increase and decrease.
type Gauge struct{ vector[prometheus.Gauge] }

// Gauge returns the gauge with that name, like [Registry.Counter].
func (r *Registry) Gauge(name, help string, labels ...string) *Gauge {
	return &Gauge{newVector(r, Metric{name, "gauge", help, labels}, nil, func(fullName string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: fullName, Help: help}, labels)
	})}
}

// Set sets the value.
func (g *Gauge) Set(v float64, labelValues ...string) {
	if gauge, ok := g.with(labelValues); ok {
		gauge.Set(v)
	}
}

// Add adds n, which may be negative.
func (g *Gauge) Add(n float64, labelValues ...string) {
	if gauge, ok := g.with(labelValues); ok {
		gauge.Add(n)
	}
}

// gaugeFuncs is the gauge of all functions that share a name.
type gaugeFuncs struct {
	prometheus.Collector
	mu    sync.Mutex // guards reads
	reads []func() float64
}

// GaugeFunc calls read at each scrape; read must be fast and safe for concurrent
// use. Parts that share a name each report their share: the gauge is the sum.
func (r *Registry) GaugeFunc(name, help string, read func() float64) {
	f := register(r, Metric{name, "gauge", help, nil}, nil, func(fullName string) *gaugeFuncs {
		f := &gaugeFuncs{}
		f.Collector = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: fullName, Help: help}, f.sum)
		return f
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads = append(f.reads, read)
}

func (f *gaugeFuncs) sum() (sum float64) {
	f.mu.Lock()
	reads := slices.Clone(f.reads)
	f.mu.Unlock()
	for _, read := range reads {
		sum += read()
	}
	return sum
}

// Histogram counts observations in buckets.
type Histogram struct{ vector[prometheus.Observer] }

// Histogram returns the histogram with that name, like [Registry.Counter]. Buckets are upper bounds in
// ascending order; the default is the library's, from 5 ms to 10 s in seconds. A Prometheus server that
// requests native histograms also gets one, with at most 160 buckets, each a tenth wider than the previous one.
func (r *Registry) Histogram(name, help string, buckets []float64, labels ...string) *Histogram {
	return &Histogram{newVector(r, Metric{name, "histogram", help, labels}, buckets, func(fullName string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: fullName, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
		}, labels)
	})}
}

// Observe adds one observation.
func (h *Histogram) Observe(v float64, labelValues ...string) {
	if histogram, ok := h.with(labelValues); ok {
		histogram.Observe(v)
	}
}
