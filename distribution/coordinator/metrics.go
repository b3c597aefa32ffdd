package coordinator

import "github.com/prometheus/client_golang/prometheus"

// Metrics count the coordinator's decisions; see docs/OPERATIONS.md.
type Metrics struct {
	Members     prometheus.Gauge
	Swarms      prometheus.Gauge
	Parts       prometheus.Gauge
	Grants      *prometheus.CounterVec // from: supernode, origin
	Reclaimed   prometheus.Counter
	Wants       *prometheus.CounterVec // result: opened, refused
	Quarantined prometheus.Counter
}

// NewMetrics registers the coordinator's metrics, with nobody if reg is nil.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &Metrics{
		Members:     gauge("shoal_coordinator_peers", "Peers with a control stream."),
		Swarms:      gauge("shoal_coordinator_swarms", "Objects that some peer wants."),
		Parts:       gauge("shoal_coordinator_swarm_members", "Places in all swarms together."),
		Grants:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shoal_coordinator_grants_total", Help: "Units of blocks granted, by where they are to be fetched."}, []string{"from"}),
		Reclaimed:   prometheus.NewCounter(prometheus.CounterOpts{Name: "shoal_coordinator_reclaimed_total", Help: "Grants taken back because they brought nothing."}),
		Wants:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "shoal_coordinator_wants_total", Help: "Requests to join a swarm, by result."}, []string{"result"}),
		Quarantined: prometheus.NewCounter(prometheus.CounterOpts{Name: "shoal_coordinator_quarantined_total", Help: "Peers quarantined for wrong bytes."}),
	}
	if reg != nil {
		reg.MustRegister(m.Members, m.Swarms, m.Parts, m.Grants, m.Reclaimed, m.Wants, m.Quarantined)
	}
	return m
}

// observe sets the gauges. Callers hold mu.
func (m *Metrics) observe(c *Coordinator) {
	parts := 0
	for _, s := range c.swarms {
		parts += len(s.parts)
	}
	m.Members.Set(float64(len(c.members)))
	m.Swarms.Set(float64(len(c.swarms)))
	m.Parts.Set(float64(parts))
}
