package coordinator

import (
	"math/rand/v2"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// maxAcquainted bounds of how many others a newcomer is told, and they of it.
const maxAcquainted = 16

// acquaint tells a newcomer and some others, drawn at random, of each other,
// whatever objects they have: they can ask each other once no supernode answers.
// Callers hold mu.
func (c *Coordinator) acquaint(m *member) {
	if m.Chunks == "" || c.banned[m.ID] {
		return
	}
	var others []*member
	for id, o := range c.members {
		if id != m.ID && o.Chunks != "" && !c.banned[id] {
			others = append(others, o)
		}
	}
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	told := &distribution.Neighbours{}
	for _, o := range others[:min(len(others), maxAcquainted)] {
		told.Add = append(told.Add, o.Member)
		o.tell(&distribution.Neighbours{Add: []distribution.Member{m.Member}})
	}
	if len(told.Add) > 0 {
		m.tell(told)
	}
}

// introduce makes a member of a swarm, and others of it, neighbours of each
// other: all of a small swarm; of a large one, as many as are configured, drawn
// at random, those with everything first in line.
func (c *Coordinator) introduce(s *swarm, p *part) {
	var full, others []*part
	for id, q := range s.parts {
		if q == p || p.knows[id] || c.banned[id] || q.m.Chunks == "" {
			continue
		}
		if q.full {
			full = append(full, q)
		} else {
			others = append(others, q)
		}
	}
	rand.Shuffle(len(full), func(i, j int) { full[i], full[j] = full[j], full[i] })
	rand.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	// Half of the places are for those that have everything, so that a late one
	// finds both givers and fellows.
	room := c.cfg.Neighbours - len(p.knows)
	k := min(len(full), max(room/2, room-len(others)))
	chosen := append(full[:k:k], others[:min(len(others), max(0, room-k))]...)
	add := &distribution.Neighbours{Object: s.id}
	for _, q := range chosen {
		p.knows[q.m.ID] = true
		add.Add = append(add.Add, q.m.Member)
		if q.full {
			add.Full = append(add.Full, q.m.ID)
		}
		if q.wants && p.m.Chunks != "" && !c.banned[p.m.ID] {
			q.knows[p.m.ID] = true
			back := &distribution.Neighbours{Object: s.id, Add: []distribution.Member{p.m.Member}}
			if p.full {
				back.Full = []distribution.NodeID{p.m.ID}
			}
			q.m.tell(back)
		}
	}
	if len(add.Add) > 0 {
		p.m.tell(add)
	}
}

// becameFull tells those that know a member that it has everything.
func (c *Coordinator) becameFull(s *swarm, p *part) {
	msg := &distribution.Neighbours{Object: s.id, Full: []distribution.NodeID{p.m.ID}}
	for _, q := range s.parts {
		if q.knows[p.m.ID] && q.wants {
			q.m.tell(msg)
		}
	}
	if s.fullSince.IsZero() {
		s.fullSince = time.Now()
	}
	c.seekSeal(s, time.Now())
}

// sealPatience is how long members may go on trading before the supernode takes
// their object to seal it, and with it a part of their uplinks.
const sealPatience = 5 * time.Second

// seekSeal lets the supernode take, from a member that has everything, an object
// that members fetched from the origin: when no other member is still at it, or
// they take long.
func (c *Coordinator) seekSeal(s *swarm, now time.Time) {
	if s.fullSince.IsZero() || s.leading || s.size <= chunk.Size || !c.spread(s) {
		return
	}
	var giver *part
	for _, p := range s.parts {
		switch {
		case p.full:
			giver = p
		case p.wants && now.Sub(s.fullSince) < sealPatience:
			return
		}
	}
	if giver != nil {
		c.lead(s, giver)
	}
}

// onReport takes an accusation: the accused is no neighbour of the accuser any
// more, and of nobody once a second node accuses it. Who accuses many is not
// believed.
func (c *Coordinator) onReport(m *member, msg *distribution.Report) {
	if c.accusations(m.ID) >= maxAccusations || c.members[msg.Node] == nil && c.accused[msg.Node] == nil {
		return
	}
	if c.accused[msg.Node] == nil {
		c.accused[msg.Node] = map[distribution.NodeID]bool{}
	}
	c.accused[msg.Node][m.ID] = true
	c.log.Warn("a peer reports wrong bytes", "accuser", string(m.ID), "accused", string(msg.Node), "object", msg.Object.String())
	if len(c.accused[msg.Node]) >= accusersToBan {
		c.ban(msg.Node, "two peers received wrong bytes from it")
	}
}

const (
	accusersToBan  = 2
	maxAccusations = 3
)

func (c *Coordinator) accusations(by distribution.NodeID) int {
	n := 0
	for _, accusers := range c.accused {
		if accusers[by] {
			n++
		}
	}
	return n
}

// ban quarantines a node for the whole cluster. Callers hold mu.
func (c *Coordinator) ban(id distribution.NodeID, why string) {
	if c.banned[id] {
		return
	}
	c.banned[id] = true
	c.metric.Quarantined.Inc()
	c.log.Error("peer quarantined", "peer", string(id), "reason", why)
	for _, m := range c.members {
		if m.ID != id {
			m.tell(&distribution.Quarantine{Node: id, Reason: why})
		}
	}
	for object := range c.holders {
		delete(c.holders[object], id)
	}
}
