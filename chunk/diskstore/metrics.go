package diskstore

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics counts what a store does.
type Metrics struct {
	bytes          prometheus.Gauge
	objects        prometheus.Gauge
	quota          prometheus.Gauge
	evictedBytes   prometheus.Counter
	evictedObjects prometheus.Counter
	refused        prometheus.Counter
	damaged        prometheus.Counter
	rechecked      *prometheus.CounterVec
	syncs          prometheus.Histogram
	syncFailures   prometheus.Counter
}

// NewMetrics registers a store's metrics; a nil registerer registers none.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	gauge := func(name, help string) prometheus.Gauge {
		return f.NewGauge(prometheus.GaugeOpts{Name: "shoal_store_" + name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return f.NewCounter(prometheus.CounterOpts{Name: "shoal_store_" + name, Help: help})
	}
	return &Metrics{
		bytes:          gauge("bytes", "Bytes of content in the store."),
		objects:        gauge("objects", "Objects in the store, whole or in part."),
		quota:          gauge("quota_bytes", "Bytes of content that the store may hold; 0 is no limit."),
		evictedBytes:   counter("evicted_bytes_total", "Bytes of content evicted to make room."),
		evictedObjects: counter("evicted_objects_total", "Objects evicted to make room."),
		refused:        counter("full_total", "Writes refused because the store or its disk was full."),
		damaged:        counter("damaged_objects_total", "Objects removed because their files failed their checks."),
		rechecked: f.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_store_rechecked_chunks_total",
			Help: "Chunks hashed again because a crash came before they were durable, by result (kept, lost).",
		}, []string{"result"}),
		syncs: f.NewHistogram(prometheus.HistogramOpts{
			Name:    "shoal_store_sync_seconds",
			Help:    "Time to make one object's new content durable.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
		}),
		syncFailures: counter("sync_failures_total", "Times that the disk failed to make content durable."),
	}
}
