package derive

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what was made.
type Metrics struct {
	Layers *prometheus.CounterVec // by result: made, failed
	Plain  prometheus.Counter
	Trees  prometheus.Counter
}

// NewMetrics registers the metrics; a nil registerer leaves them unregistered.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		Layers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "shoal_derive_layers_total", Help: "Layers that were mapped for lazy images, by result.",
		}, []string{"result"}),
		Plain: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_derive_plain_bytes_total", Help: "Plain bytes of the layers that were mapped.",
		}),
		Trees: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "shoal_derive_trees_total", Help: "Image trees that were made.",
		}),
	}
	if r != nil {
		r.MustRegister(m.Layers, m.Plain, m.Trees)
	}
	return m
}
