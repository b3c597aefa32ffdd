package assembly

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Status is what a daemon tells of itself, on /v1/status.
type Status struct {
	Role    string              `json:"role"` // peer or supernode
	Version string              `json:"version"`
	ID      distribution.NodeID `json:"id"`
	Started time.Time           `json:"started"`
	// Network says whether the node has a network key.
	Network bool `json:"network"`
	// Listen are the addresses in use, by the setting's name.
	Listen map[string]string `json:"listen"`
	// Supernode is a peer's side of its swarm; nil on a supernode.
	Supernode *SupernodeStatus `json:"supernode,omitempty"`
	// Swarm is a supernode's; nil on a peer.
	Swarm *SwarmStatus `json:"swarm,omitempty"`
	Store chunk.Usage  `json:"store"`
	// Received are verified bytes since the start, by source: origin, supernode
	// and peer.
	Received map[string]int64 `json:"received"`
	// Sent are bytes given to other nodes.
	Sent int64 `json:"sent"`
	// Objects are those open in the engine, by state.
	Objects map[string]int64 `json:"objects"`
	// Fallbacks counts how often an object left the swarm's way, by reason.
	Fallbacks map[string]int64 `json:"fallbacks,omitempty"`
	// Quarantined are nodes that sent a wrong byte.
	Quarantined int64 `json:"quarantined"`
}

// SupernodeStatus says whether a peer's supernode answers.
type SupernodeStatus struct {
	Configured []string            `json:"configured"` // empty: the peer works alone
	Connected  bool                `json:"connected"`
	ID         distribution.NodeID `json:"id,omitempty"`
}

// SwarmStatus is what a supernode coordinates.
type SwarmStatus struct {
	Mode   distribution.OriginMode `json:"mode"`
	Peers  int64                   `json:"peers"`
	Swarms int64                   `json:"swarms"`
}

// counters reads counters and gauges back from a registry, so that status and
// metrics never differ.
type counters map[string]*dto.MetricFamily

func readCounters(g prometheus.Gatherer) (counters, error) {
	families, err := g.Gather()
	if err != nil {
		return nil, err
	}
	c := counters{}
	for _, f := range families {
		c[f.GetName()] = f
	}
	return c, nil
}

// byLabel are a metric's values by the value of its one label.
func (c counters) byLabel(name string) map[string]int64 {
	values := map[string]int64{}
	for _, m := range c[name].GetMetric() {
		key := ""
		for _, label := range m.GetLabel() {
			key = label.GetValue()
		}
		values[key] += int64(m.GetCounter().GetValue() + m.GetGauge().GetValue())
	}
	return values
}

func (c counters) value(name string) int64 { return c.byLabel(name)[""] }

func (p *parts) status(role, version string, started time.Time, listen map[string]string) Status {
	c, err := readCounters(p.Metrics)
	if err != nil {
		p.Log.Error("reading metrics for the status", "error", err)
	}
	return Status{
		Role: role, Version: version, ID: p.identity.ID(), Started: started, Network: len(p.key) > 0, Listen: listen,
		Store:       p.store.Usage(),
		Received:    c.byLabel("shoal_download_received_bytes_total"),
		Sent:        c.value("shoal_download_uploaded_bytes_total"),
		Objects:     c.byLabel("shoal_download_objects"),
		Fallbacks:   c.byLabel("shoal_download_fallbacks_total"),
		Quarantined: c.value("shoal_download_quarantined_total"),
	}
}
