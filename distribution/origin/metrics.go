package origin

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics counts what is asked of registries.
type Metrics struct {
	requests    *prometheus.CounterVec
	retries     *prometheus.CounterVec
	bytes       prometheus.Counter
	throttled   prometheus.Counter
	tokens      *prometheus.CounterVec
	latency     prometheus.Histogram
	connections prometheus.Gauge
}

// NewMetrics registers the package's metrics; a nil registerer keeps them
// private.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_origin_requests_total", Help: "HTTP requests to registries, mirrors and redirect targets, by outcome.",
		}, []string{"outcome"}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_origin_retries_total", Help: "Requests that were made again, by why.",
		}, []string{"reason"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_origin_bytes_total", Help: "Body bytes read from registries.",
		}),
		throttled: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_origin_throttled_total", Help: "Answers by which a registry asked for patience (429, or 503 with Retry-After).",
		}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_origin_tokens_total", Help: "Token exchanges, by outcome.",
		}, []string{"outcome"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "shoal_origin_request_seconds", Help: "Time from a request to the head of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "shoal_origin_connections", Help: "Requests and bodies that are open now.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.retries, m.bytes, m.throttled, m.tokens, m.latency, m.connections)
	}
	return m
}

// outcome is a fixed, small set of labels.
func outcome(resp *http.Response, err error) string {
	switch {
	case err != nil:
		return "network"
	case resp.StatusCode < 300 || resp.StatusCode == http.StatusNotModified:
		return "ok"
	case resp.StatusCode < 400:
		return "redirect"
	case resp.StatusCode == http.StatusUnauthorized:
		return "unauthorized"
	case resp.StatusCode == http.StatusTooManyRequests:
		return "throttled"
	case resp.StatusCode == http.StatusNotFound:
		return "not_found"
	case resp.StatusCode < 500:
		return "refused"
	}
	return "server_error"
}
