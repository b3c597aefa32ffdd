//go:build linux

package fuse

import "github.com/prometheus/client_golang/prometheus"

// Metrics count the file system's work; see docs/OPERATIONS.md.
type Metrics struct {
	Images  prometheus.Gauge
	Opens   *prometheus.CounterVec // way: copy, passthrough, object
	Refused prometheus.Counter     // passthrough opens that the kernel refused
	Reads   prometheus.Counter
	Bytes   *prometheus.CounterVec // from: object, tree, hole
	Waits   prometheus.Gauge
	Waited  prometheus.Histogram
	Fetches prometheus.Counter
	Ahead   prometheus.Counter
	Errors  *prometheus.CounterVec // reason: deadline, content, file, tree
}

// NewMetrics registers the file system's metrics, with nobody if reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		Images:  gauge("shoal_fuse_images", "Images in the file system."),
		Opens:   vector("shoal_fuse_opens_total", "Files opened, by the way they are read.", "way"),
		Refused: counter("shoal_fuse_passthrough_refused_total", "Opens that fell back to copying because the kernel refused passthrough."),
		Reads:   counter("shoal_fuse_reads_total", "Reads that the kernel asked for; passthrough reads do not come here."),
		Bytes:   vector("shoal_fuse_read_bytes_total", "Bytes given to the kernel, by where they came from.", "from"),
		Waits:   gauge("shoal_fuse_waiting_reads", "Reads that wait for bytes now."),
		Waited: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "shoal_fuse_wait_seconds", Help: "How long reads waited for missing bytes.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 10),
		}),
		Fetches: counter("shoal_fuse_fetches_total", "Ranges asked for because a read waits."),
		Ahead:   counter("shoal_fuse_ahead_bytes_total", "Bytes asked for ahead of reads."),
		Errors:  vector("shoal_fuse_errors_total", "Requests that failed with EIO, by reason.", "reason"),
	}
	if reg != nil {
		reg.MustRegister(m.Images, m.Opens, m.Refused, m.Reads, m.Bytes, m.Waits, m.Waited, m.Fetches, m.Ahead, m.Errors)
	}
	return m
}
