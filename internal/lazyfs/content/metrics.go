//go:build linux

package content

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The reasons for which bytes became present.
const (
	byStore  = "store"  // they were here before
	byDemand = "demand" // a read waited
	byAhead  = "ahead"  // a read was expected
	byFill   = "fill"   // in the background
)

// Metrics count what is asked of the peer.
type Metrics struct {
	bytes    *prometheus.CounterVec
	requests *prometheus.CounterVec
	failed   prometheus.Counter
	proved   *prometheus.CounterVec
	filled   prometheus.Counter
	filling  prometheus.Gauge
	dropped  prometheus.Counter
}

// NewMetrics registers the metrics; a nil registerer registers none.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "shoal_lazyfs_" + name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return f.NewCounterVec(prometheus.CounterOpts{Name: "shoal_lazyfs_" + name, Help: help}, []string{label})
	}
	return &Metrics{
		bytes:    vector("present_bytes_total", "Bytes of images that became present, by why: store (were here), demand, ahead, fill.", "by"),
		requests: vector("requests_total", "Requests to the peer for bytes, by why.", "by"),
		failed:   counter("failed_requests_total", "Requests to the peer for bytes that failed, and may have been repeated."),
		proved:   vector("proved_chunks_total", "Chunks hashed here because the peer was away, by result (good, bad).", "result"),
		filled:   counter("images_completed_total", "Images that became complete on this node while mounted."),
		filling:  f.NewGauge(prometheus.GaugeOpts{Name: "shoal_lazyfs_filling_images", Help: "Images that the background fill works on."}),
		dropped:  counter("ahead_dropped_total", "Hints to read ahead that were dropped because too many waited."),
	}
}
