package download

import "github.com/prometheus/client_golang/prometheus"

// Metrics count the engine's work; see docs/OPERATIONS.md.
type Metrics struct {
	Received    *prometheus.CounterVec // source: origin, supernode, peer
	Sent        prometheus.Counter
	Blocks      *prometheus.CounterVec // result: verified, wrong, duplicate
	Fetches     *prometheus.CounterVec // source, result: ok, busy, absent, stalled, failed, wrong, superseded
	Quarantined prometheus.Counter
	Fallbacks   *prometheus.CounterVec // reason
	Tasks       *prometheus.GaugeVec   // state: opening, fetching, done
	Neighbours  prometheus.Gauge
	FirstByte   prometheus.Histogram // seconds from Open to the first block
}

// NewMetrics registers the engine's metrics, with nobody if reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		Received:    counter("shoal_download_received_bytes_total", "Verified bytes taken from a source.", "source"),
		Sent:        prometheus.NewCounter(prometheus.CounterOpts{Name: "shoal_download_uploaded_bytes_total", Help: "Bytes vouched for to other nodes."}),
		Blocks:      counter("shoal_download_blocks_total", "Blocks received, by result of their verification.", "result"),
		Fetches:     counter("shoal_download_fetches_total", "Requests for runs of blocks, by source and result.", "source", "result"),
		Quarantined: prometheus.NewCounter(prometheus.CounterOpts{Name: "shoal_download_quarantined_total", Help: "Nodes quarantined for a wrong byte."}),
		Fallbacks:   counter("shoal_download_fallbacks_total", "Times that an object left the swarm's way.", "reason"),
		Tasks:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "shoal_download_objects", Help: "Objects open in the engine, by state."}, []string{"state"}),
		Neighbours:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "shoal_download_neighbours", Help: "Open neighbour streams."}),
		FirstByte: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "shoal_download_first_block_seconds", Help: "From opening an object to its first verified block.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 10),
		}),
	}
	if reg != nil {
		reg.MustRegister(m.Received, m.Sent, m.Blocks, m.Fetches, m.Quarantined, m.Fallbacks, m.Tasks, m.Neighbours, m.FirstByte)
	}
	return m
}
