package coordinator

import (
	"math"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// allot grants what may be granted now of the supernode's upload: each unit once
// before any twice, to the member with the least on its hands.
func (c *Coordinator) allot(s *swarm, now time.Time) {
	if !s.opened || s.derived || s.direct() {
		return
	}
	if s.fetched {
		grants := grants{}
		c.allotUpload(s, grants, now)
		grants.tell()
		c.open(s)
	}
}

// grants are what one round says to the members of a swarm.
type grants map[*part]*distribution.Grant

func (g grants) tell() {
	for p, grant := range g {
		p.m.tell(grant)
	}
}

// allotUpload grants from the supernode's own upload.
func (c *Coordinator) allotUpload(s *swarm, grants grants, now time.Time) {
	able := func(m *member) bool { return m.pending < maxMember }
	for u := s.next; u < len(s.times); u++ {
		// A unit is granted once it begins to be here: one that the origin is yet to
		// send would only take the place of one that could move now.
		if s.times[u] > 0 || !s.present.Has(u*s.unit) {
			continue
		}
		if s.holds(s.present, u) && !c.pace.room() {
			continue
		}
		p := c.taker(s, u, able, now)
		if p == nil {
			return
		}
		c.grant(s, p, u, 1, grants, now)
	}
}

// spread tells whether members fetch this object from the origin. Once it is
// sealed, or the supernode had to fetch it after all, they need not.
func (c *Coordinator) spread(s *swarm) bool {
	return c.cfg.Mode == distribution.ModeSpread && !s.fetched && s.list == nil
}

// taker is the member that should take unit u: of those that want it and have few
// units outstanding, the one that took the least lately, over all objects: whoever
// takes a unit will be asked for it by all others, so uplinks are loaded evenly.
func (c *Coordinator) taker(s *swarm, u int, may func(m *member) bool, now time.Time) *part {
	able := func(p *part) bool {
		return p.wants && may(p.m) && p.have != nil && !s.holds(p.have, u)
	}
	fewest := math.MaxInt
	for _, p := range s.parts {
		if able(p) {
			fewest = min(fewest, p.m.pending)
		}
	}
	var best *part
	for _, p := range s.parts {
		if !able(p) || p.m.pending > fewest && (p.m.pending > fewest+slack || s.late(p, now)) {
			continue
		}
		p.m.fade(now)
		if best == nil || p.m.taken < best.m.taken || p.m.taken == best.m.taken && p.m.pending < best.m.pending {
			best = p
		}
	}
	return best
}

const (
	// slack is how many units more than another's a member may have outstanding and
	// still be the one to take the next: members tell late of what arrived.
	slack = 2
	// memory is how long what a member took counts, to about a third.
	memory = 2 * time.Second
)

// late tells a member of which a grant takes longer than usual.
func (s *swarm) late(p *part, now time.Time) bool {
	for _, o := range p.out {
		if s.usual > 0 && now.Sub(o.since) > 2*s.usual {
			return true
		}
	}
	return false
}

// fade lets what the member took count less with time.
func (m *member) fade(now time.Time) {
	m.taken *= math.Exp(-now.Sub(m.faded).Seconds() / memory.Seconds())
	m.faded = now
}

// grant allots n units from u on, which lie in one chunk, as one request.
func (c *Coordinator) grant(s *swarm, p *part, u, n int, grants grants, now time.Time) {
	spread := c.spread(s)
	r := &request{began: now, moved: now, block: now, origin: spread}
	g := grants[p]
	if g == nil {
		g = &distribution.Grant{Object: s.id, Origin: spread}
		grants[p] = g
	}
	for end := u + n; u < end; u++ {
		if _, already := p.out[u]; already || len(g.Spans) >= distribution.MaxSpans {
			continue
		}
		s.mark(u, 1)
		// Only a unit that is whole here waits for the supernode's upload; another
		// waits for the origin, and must not take its place.
		o := outstanding{since: now, request: r, paced: !spread && s.holds(s.present, u)}
		if o.paced {
			c.pace.out++
		}
		p.out[u] = o
		r.left++
		p.m.pending++
		p.m.taken++
		if spread {
			p.fetches[u] = true
		}
		if span, k := s.span(u), len(g.Spans); k > 0 && r.left > 1 {
			g.Spans[k-1].N += span.N
		} else {
			g.Spans = append(g.Spans, span)
		}
		c.metric.Grants.WithLabelValues(grantKind(spread)).Inc()
	}
	if spread && r.left > 0 {
		p.m.requests++
		s.requests++
	}
}

func grantKind(spread bool) string {
	if spread {
		return "origin"
	}
	return "supernode"
}

// open tells members, once every unit went out, that the supernode's upload is
// free for whatever they miss.
func (c *Coordinator) open(s *swarm) {
	if !s.spent() && !c.anyFull(s) {
		return
	}
	if s.present.Count() < s.present.Len() {
		return
	}
	for _, p := range s.parts {
		if p.wants && !p.open {
			c.openTo(s, p)
		}
	}
}

// openTo tells a member that the supernode may be asked for any block.
func (c *Coordinator) openTo(s *swarm, p *part) {
	p.open = true
	p.m.tell(&distribution.Grant{Object: s.id, Open: true})
}

func (c *Coordinator) anyFull(s *swarm) bool {
	for _, p := range s.parts {
		if p.full {
			return true
		}
	}
	return false
}

// settle books the end of a grant: it arrived, or will not.
func (c *Coordinator) settle(s *swarm, p *part, u int, arrived bool, now time.Time) {
	o := p.out[u]
	delete(p.out, u)
	p.m.pending--
	if arrived {
		took := now.Sub(o.since)
		if s.usual == 0 {
			s.usual = took
		}
		s.usual += (took - s.usual) / 4
	}
	if o.request.left--; o.request.left == 0 && o.request.origin {
		p.m.requests--
		s.requests--
	}
	switch {
	case o.request.origin:
	case arrived:
		c.pace.arrived(o.paced, now)
	case o.paced:
		c.pace.lost()
	}
}

// ungrant lets unit u be granted again.
func (c *Coordinator) ungrant(s *swarm, p *part, u int) {
	if _, ok := p.out[u]; !ok {
		return
	}
	c.settle(s, p, u, false, time.Now())
	if s.times[u] > 0 {
		s.mark(u, -1)
	}
}

// onNeed grants again what nobody offers to a member, if the supernode has it.
func (c *Coordinator) onNeed(m *member, msg *distribution.Need) {
	s := c.swarms[msg.Object]
	if s == nil || !s.opened || s.parts[m.ID] == nil || s.parts[m.ID].have == nil {
		return
	}
	p, now := s.parts[m.ID], time.Now()
	spread := c.spread(s)
	if !s.fetched && s.list != nil && !s.busy {
		c.fetch(s)
		return
	}
	grants := grants{}
	s.each(msg.Spans, func(u int) {
		switch {
		case s.holds(p.have, u):
		case !spread && !s.present.Has(u*s.unit):
		case !spread && !c.pace.room() && len(p.out) > 0:
		case c.pending(s, u, now), spread && s.heldByAnother(p, u):
		case spread:
			c.needOrigin(s, p, u, now)
		default:
			c.grant(s, p, u, 1, grants, now)
		}
	})
	grants.tell()
}

// patience is how long a grant is waited for before somebody else may have it.
func (s *swarm) patience(stall time.Duration) time.Duration {
	if s.usual == 0 {
		return stall
	}
	return max(stall/3, 3*s.usual)
}

// heldByAnother tells that the asker can have unit u from a member, and will
// hear of it.
func (s *swarm) heldByAnother(p *part, u int) bool {
	for _, q := range s.parts {
		if q != p && q.have != nil && s.holds(q.have, u) {
			return true
		}
	}
	return false
}

// pending tells whether somebody was granted unit u and will have it: the asker
// can have it from there soon. From the origin nothing is fetched twice while it
// may come; the supernode's upload is not worth more than the usual time.
func (c *Coordinator) pending(s *swarm, u int, now time.Time) bool {
	for _, p := range s.parts {
		if o, ok := p.out[u]; ok && (o.request.origin || now.Sub(o.since) < s.patience(c.cfg.Stall)) {
			return true
		}
	}
	return false
}

// onProgress books what a member has now.
func (c *Coordinator) onProgress(m *member, msg *distribution.Progress) {
	s := c.swarms[msg.Object]
	if s == nil || !s.opened || s.parts[m.ID] == nil || s.parts[m.ID].have == nil {
		return
	}
	p, now := s.parts[m.ID], time.Now()
	s.each(msg.Coming, func(u int) {
		if o, ok := p.out[u]; ok {
			m.moved(o.request, now)
		}
	})
	for _, span := range msg.Got {
		for b := int(span.First); b < min(span.End(), p.have.Len()); b++ {
			if o, ok := p.out[b/s.unit]; p.have.Set(b) && ok {
				s.brought(m, o.request, now)
			}
		}
	}
	for _, span := range msg.Lost {
		for b := int(span.First); b < min(span.End(), p.have.Len()); b++ {
			p.have.Clear(b)
		}
	}
	s.each(msg.Got, func(u int) {
		if _, ok := p.out[u]; ok && s.holds(p.have, u) {
			c.settle(s, p, u, true, now)
		}
	})
	s.each(msg.Lost, func(u int) { c.ungrant(s, p, u) })
	if p.have.Full() && !p.full {
		p.full = true
		c.becameFull(s, p)
	}
}
