package node

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what the control port does.
type Metrics struct {
	conns    *prometheus.GaugeVec   // by protocol
	messages *prometheus.CounterVec // by direction
	bytes    *prometheus.CounterVec // by direction
	closed   *prometheus.CounterVec // by reason
	dials    *prometheus.CounterVec // by result
}

// NewMetrics registers the metrics with reg, or with nothing if reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		conns: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "shoal_node_streams", Help: "Open message streams.",
		}, []string{"protocol"}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_node_messages_total", Help: "Control messages.",
		}, []string{"direction"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_node_message_bytes_total", Help: "Bytes of control messages, framed.",
		}, []string{"direction"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_node_streams_closed_total", Help: "Message streams that ended, by reason.",
		}, []string{"reason"}),
		dials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_node_dials_total", Help: "Attempts to open a message stream.",
		}, []string{"result"}),
	}
	if reg != nil {
		reg.MustRegister(m.conns, m.messages, m.bytes, m.closed, m.dials)
	}
	return m
}
