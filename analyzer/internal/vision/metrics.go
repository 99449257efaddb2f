package vision

import (
	"time"

	"github.com/imagebatch/imagebatch/shared/telemetry"
)

type metrics struct {
	requests   *telemetry.Counter
	took       *telemetry.Histogram
	tokens     *telemetry.Counter
	breaker    *telemetry.Gauge
	uncaptions *telemetry.Counter
}

// Register registers the metrics of the vision client, also those that have no value yet.
func Register(r *telemetry.Registry) { newMetrics(r) }

func newMetrics(r *telemetry.Registry) metrics {
	return metrics{
		requests: r.Counter("caption_requests_total", "Requests to a vision model, by model and outcome.", "model", "outcome"),
		took: r.Histogram("caption_request_duration_seconds", "Duration of a request to a vision model, by model.",
			[]float64{.1, .25, .5, 1, 2.5, 5, 10, 20, 40, 60, 120, 180, 300}, "model"),
		tokens:     r.Counter("caption_tokens_total", "Tokens that the vision model reported, by model and kind: prompt (with the image) or completion.", "model", "kind"),
		breaker:    r.Gauge("caption_breaker_open", "1 if the circuit breaker of the vision model is open, otherwise 0.", "model"),
		uncaptions: r.Counter("images_uncaptioned_total", "Images that continued without a caption, by reason.", "reason"),
	}
}

// start creates the values of a model as 0.
func (m metrics) start(model string) {
	for _, o := range outcomes {
		m.requests.Add(0, model, string(o))
	}
	m.tokens.Add(0, model, "prompt")
	m.tokens.Add(0, model, "completion")
	m.breaker.Set(0, model)
}

func (m metrics) request(model string, o outcome, d time.Duration) {
	m.requests.Inc(model, string(o))
	m.took.Observe(d.Seconds(), model)
}

func (m metrics) open(model string, open bool) {
	value := 0.0
	if open {
		value = 1
	}
	m.breaker.Set(value, model)
}
