//go:build linux

package snapshotter

import "github.com/prometheus/client_golang/prometheus"

// metrics count what became of layers; see docs/OPERATIONS.md.
type metrics struct {
	remote   prometheus.Counter
	ordinary *prometheus.CounterVec
	holdErr  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		remote: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_snapshotter_remote_layers_total", Help: "Layers that containerd needed not download."}),
		ordinary: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_snapshotter_ordinary_layers_total", Help: "Layers that containerd unpacked, by why they are not lazy."}, []string{"reason"}),
		holdErr: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_snapshotter_hold_errors_total", Help: "Views of images that could not be held or let go."}),
	}
	reg.MustRegister(m.remote, m.ordinary, m.holdErr)
	for _, class := range []string{ReasonUnlabelled, ReasonOpen, ReasonPatience, ReasonMismatch, ReasonHold} {
		m.ordinary.WithLabelValues(class)
	}
	return m
}
