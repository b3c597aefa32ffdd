package exchange

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what both ends do.
type Metrics struct {
	uploads    prometheus.Gauge
	requests   *prometheus.CounterVec // by result
	sent       prometheus.Counter
	fetches    *prometheus.CounterVec // by result
	received   prometheus.Counter
	handshakes *prometheus.CounterVec // by kind
}

// NewMetrics registers the metrics with reg, or with nothing if reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		uploads: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "shoal_exchange_uploads", Help: "Uploads that run now.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_exchange_requests_total", Help: "Requests for blocks from other nodes, by result.",
		}, []string{"result"}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_exchange_sent_bytes_total", Help: "Bytes of blocks given to other nodes.",
		}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_exchange_fetches_total", Help: "Requests for blocks to other nodes, by result.",
		}, []string{"result"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_exchange_received_bytes_total", Help: "Bytes of blocks taken from other nodes, not yet verified.",
		}),
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_exchange_handshakes_total", Help: "TLS handshakes with other nodes as the asking end.",
		}, []string{"kind"}),
	}
	if reg != nil {
		reg.MustRegister(m.uploads, m.requests, m.sent, m.fetches, m.received, m.handshakes)
	}
	return m
}
