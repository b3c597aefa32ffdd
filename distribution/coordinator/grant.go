package coordinator

import (
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// allot grants what may be granted now: each unit once before any twice, to the
// member with the least on its hands.
func (c *Coordinator) allot(s *swarm, now time.Time) {
	if !s.opened || s.derived || s.direct() {
		return
	}
	spread := c.spread(s)
	if !spread && !s.fetched {
		return
	}
	grants := map[*part]*distribution.Grant{}
	for u := s.next; u < len(s.times); u++ {
		if s.times[u] > 0 {
			continue
		}
		// A unit is granted once it begins to be here: one that the origin is yet to
		// send would only take the place of one that could move now.
		if !spread && !s.present.Has(u*s.unit) {
			continue
		}
		if !spread && s.holds(s.present, u) && !c.pace.room() {
			continue
		}
		p := c.taker(s, u, spread)
		if p == nil {
			break
		}
		c.grant(s, p, u, spread, grants, now)
	}
	for p, g := range grants {
		p.m.tell(g)
	}
	if !spread {
		c.open(s)
	}
}

// spread tells whether members fetch this object from the origin. Once it is
// sealed, or the supernode had to fetch it after all, they need not.
func (c *Coordinator) spread(s *swarm) bool {
	return c.cfg.Mode == distribution.ModeSpread && !s.fetched && s.list == nil
}

// taker is the member that should take unit u: one that wants it, has the fewest
// units outstanding, then took the fewest, over all objects: whoever takes a unit
// will be asked for it by all others, so uplinks are loaded evenly.
func (c *Coordinator) taker(s *swarm, u int, spread bool) *part {
	share := max(1, c.cfg.OriginParallel/max(1, s.wanting()))
	var best *part
	for _, p := range s.parts {
		if !p.wants || p.have == nil || len(p.out) >= maxPace || s.holds(p.have, u) {
			continue
		}
		if spread && p.m.origins >= share {
			continue
		}
		if best == nil || p.m.pending < best.m.pending || p.m.pending == best.m.pending && p.m.taken < best.m.taken {
			best = p
		}
	}
	return best
}

func (s *swarm) wanting() int {
	n := 0
	for _, p := range s.parts {
		if p.wants {
			n++
		}
	}
	return n
}

func (c *Coordinator) grant(s *swarm, p *part, u int, spread bool, grants map[*part]*distribution.Grant, now time.Time) {
	if _, already := p.out[u]; already {
		return
	}
	s.times[u]++
	// Only a unit that is whole here waits for the supernode's upload; another
	// waits for the origin, and must not take its place.
	paced := !spread && s.holds(s.present, u)
	p.out[u] = outstanding{since: now, origin: spread, paced: paced}
	p.m.pending++
	p.m.taken++
	if spread {
		p.fetches[u] = true
		p.m.origins++
	}
	if paced {
		c.pace.out++
	}
	g := grants[p]
	if g == nil {
		g = &distribution.Grant{Object: s.id, Origin: spread}
		grants[p] = g
	}
	span := s.span(u)
	if n := len(g.Spans); n > 0 && g.Spans[n-1].End() == int(span.First) {
		g.Spans[n-1].N += span.N
	} else if n < distribution.MaxSpans {
		g.Spans = append(g.Spans, span)
	}
	c.metric.Grants.WithLabelValues(grantKind(spread)).Inc()
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

// reclaim takes grants back that bring nothing.
func (c *Coordinator) reclaim(s *swarm, now time.Time) {
	for _, p := range s.parts {
		if now.Sub(p.moved) < c.cfg.Stall {
			continue
		}
		for u, o := range p.out {
			if now.Sub(o.since) > c.cfg.Stall {
				c.metric.Reclaimed.Inc()
				c.ungrant(s, p, u)
			}
		}
	}
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
	switch {
	case o.origin:
		p.m.origins--
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
		s.times[u]--
	}
	s.next = min(s.next, u)
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
	grants := map[*part]*distribution.Grant{}
	s.each(msg.Spans, func(u int) {
		switch {
		case s.holds(p.have, u):
		case !spread && !s.present.Has(u*s.unit):
		case !spread && !c.pace.room() && len(p.out) > 0:
		case c.pending(s, u, now), spread && s.heldByAnother(p, u):
		default:
			c.grant(s, p, u, spread, grants, now)
		}
	})
	for p, g := range grants {
		p.m.tell(g)
	}
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

// pending tells whether somebody was granted unit u and has not taken much longer
// than is usual in the swarm: the asker can have it from there soon.
func (c *Coordinator) pending(s *swarm, u int, now time.Time) bool {
	for _, p := range s.parts {
		if o, ok := p.out[u]; ok && now.Sub(o.since) < s.patience(c.cfg.Stall) {
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
	if len(msg.Got) > 0 {
		p.moved = now
	}
	for _, span := range msg.Got {
		for b := int(span.First); b < min(span.End(), p.have.Len()); b++ {
			p.have.Set(b)
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
