package registryproxy

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Where served bytes came from.
const (
	fromCache    = "cache"    // the object was here
	fromStream   = "stream"   // it was arriving
	fromFallback = "fallback" // straight from the origin, after the swarm failed
	fromOrigin   = "origin"   // straight from the origin, as it always is for this
)

// Metrics are the proxy's counters.
type Metrics struct {
	requests    *prometheus.CounterVec
	latency     *prometheus.HistogramVec
	bytes       *prometheus.CounterVec
	checks      *prometheus.CounterVec
	resolutions *prometheus.CounterVec
	staleServed *prometheus.CounterVec
	fallbacks   *prometheus.CounterVec
}

// NewMetrics registers them; reg may be nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shoal_registry_" + name, Help: help}, labels)
		if reg != nil {
			reg.MustRegister(c)
		}
		return c
	}
	latency := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "shoal_registry_request_seconds", Help: "Time from a request to the last byte of its answer.",
		Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60, 300},
	}, []string{"kind"})
	if reg != nil {
		reg.MustRegister(latency)
	}
	return &Metrics{
		requests:    counter("requests_total", "Requests by what they ask for, method and class of status.", "kind", "method", "status"),
		latency:     latency,
		bytes:       counter("served_bytes_total", "Body bytes sent to clients by where they came from.", "source"),
		checks:      counter("access_checks_total", "Decisions whether a caller may read, by outcome.", "outcome"),
		resolutions: counter("tag_resolutions_total", "Tags resolved, by outcome.", "outcome"),
		staleServed: counter("stale_served_total", "Answers given without the origin's word while it was failing.", "kind"),
		fallbacks:   counter("fallbacks_total", "Bodies taken straight from the origin after the swarm failed, by when.", "when"),
	}
}

// method keeps a client's inventions out of the labels.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return m
	}
	return "other"
}

func class(status int) string { return strconv.Itoa(status/100) + "xx" }

func checkOutcome(v verdict, ans answer) string {
	switch {
	case v == allowed && ans.header == nil:
		return "remembered"
	case v == allowed:
		return "accepted"
	case v == stale:
		return "stale"
	case v == refused:
		return "refused"
	case v == unclear:
		return "unclear"
	default:
		return "unreachable"
	}
}
