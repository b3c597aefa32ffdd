package coordinator

import (
	"context"
	"errors"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Arrived implements download.Observer.
func (c *Coordinator) Arrived(object chunk.Digest, first int, sums []chunk.Digest) {
	c.later(func() {
		s := c.swarms[object]
		if s == nil || !s.opened {
			return
		}
		for i, sum := range sums {
			b := first + i
			if b >= len(s.sums) {
				return
			}
			s.present.Set(b)
			if s.sums[b].IsZero() {
				s.sums[b] = sum
				s.fresh = join(s.fresh, b)
			}
		}
	})
}

// Sealed implements download.Observer.
func (c *Coordinator) Sealed(l *chunk.List, seal chunk.Seal) {
	c.later(func() { c.onSealed(l, seal) })
}

func (c *Coordinator) onSealed(l *chunk.List, seal chunk.Seal) {
	s := c.swarms[l.Object]
	if s == nil {
		return
	}
	s.list, s.seal, s.leading = l, seal, false
	if !s.opened {
		return
	}
	s.present.SetAll()
	s.fetched = true
	if !s.direct() {
		c.sendDigests(s)
		msg := sealed(s)
		for _, p := range s.parts {
			if p.wants || p.full {
				p.m.tell(msg)
			}
		}
	}
	if !s.wanted() && !s.busy {
		c.end(s)
	}
}

// Failed implements download.Observer: an object that cannot be had is refused,
// one whose whole is wrong is void everywhere.
func (c *Coordinator) Failed(object chunk.Digest, err error, wrong bool) {
	c.later(func() { c.onFailed(object, err, wrong) })
}

func (c *Coordinator) onFailed(object chunk.Digest, err error, wrong bool) {
	s := c.swarms[object]
	if s == nil || s.busy && !s.opened {
		return
	}
	if !wrong {
		c.refuse(s, err)
		return
	}
	for _, p := range s.parts {
		p.m.tell(&distribution.Drop{Object: object, Reason: text(err)})
	}
	if s.leading && len(s.srcs) > 0 {
		src, who, sums := s.srcs[len(s.srcs)-1], s.who, s.sums
		c.spawn(func() { c.findLiars(src, who, sums) })
	}
	c.end(s)
}

// known are the digests of blocks in spans, as messages.
func (s *swarm) known(spans []distribution.Span) []*distribution.Digests {
	var list []*distribution.Digests
	for _, span := range spans {
		var d *distribution.Digests
		for b := int(span.First); b < min(span.End(), len(s.sums)); b++ {
			if s.sums[b].IsZero() {
				d = nil
				continue
			}
			if d == nil || len(d.Sums) == distribution.MaxSums {
				d = &distribution.Digests{Object: s.id, First: uint32(b)}
				list = append(list, d)
			}
			d.Sums = append(d.Sums, s.sums[b])
		}
	}
	return list
}

// sendDigests tells the swarm the digests that came since the last round.
func (c *Coordinator) sendDigests(s *swarm) {
	if len(s.fresh) == 0 {
		return
	}
	messages := s.known(s.fresh)
	s.fresh = nil
	for _, p := range s.parts {
		if p.wants {
			for _, d := range messages {
				p.m.tell(d)
			}
		}
	}
}

// join appends block b to spans, extending the last one if it follows.
func join(spans []distribution.Span, b int) []distribution.Span {
	if n := len(spans); n > 0 && spans[n-1].End() == b {
		spans[n-1].N++
		return spans
	}
	return append(spans, distribution.Span{First: uint32(b), N: 1})
}

// onDigests takes the digests of blocks that a member was granted to fetch from
// the origin, and of no others.
func (c *Coordinator) onDigests(m *member, msg *distribution.Digests) {
	s := c.swarms[msg.Object]
	if s == nil || !s.opened || !c.spread(s) || s.parts[m.ID] == nil {
		return
	}
	for i, sum := range msg.Sums {
		b := int(msg.First) + i
		if b >= len(s.sums) || !s.parts[m.ID].fetches[b/s.unit] || !s.sums[b].IsZero() {
			continue
		}
		s.sums[b], s.who[b] = sum, m.ID
		s.fresh = join(s.fresh, b)
	}
	if end := int(msg.First) + len(msg.Sums); s.leading && end <= len(s.sums) {
		c.engine.Learn(s.id, int(msg.First), s.sums[msg.First:end])
	}
}

// lead lets the supernode take the whole from members that have it, so that it
// can digest and seal it. Callers hold mu.
func (c *Coordinator) lead(s *swarm, p *part) {
	have := &distribution.Have{Object: s.id, Size: s.size, All: true}
	if s.leading {
		c.spawn(func() { c.engine.Neighbour(p.m.Member, have) })
		return
	}
	if len(s.srcs) == 0 {
		return
	}
	s.leading = true
	src, sums := s.srcs[len(s.srcs)-1], append([]chunk.Digest(nil), s.sums...)
	c.spawn(func() {
		reader, err := c.engine.Lead(c.ctx, src, s.size)
		if err != nil {
			c.log.Warn("cannot take the object from its swarm", "source", src, "error", err)
			return
		}
		defer reader.Close()
		c.engine.Learn(s.id, 0, sums)
		c.engine.Neighbour(p.m.Member, have)
		if err := reader.Wait(c.ctx); err != nil && !errors.Is(err, context.Canceled) {
			c.log.Warn("the swarm's object was not sealed", "source", src, "error", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		s.leading = false
		if !s.wanted() && !s.busy {
			c.end(s)
		}
	})
}

// findLiars fetches from the origin what a swarm got wrong, and quarantines
// those who gave digests of other bytes.
func (c *Coordinator) findLiars(src distribution.Source, who []distribution.NodeID, said []chunk.Digest) {
	reader, err := c.engine.Open(c.ctx, src)
	if err != nil {
		return
	}
	defer reader.Close()
	if reader.Wait(c.ctx) != nil {
		return
	}
	_, sums := c.engine.Present(src.Digest)
	c.mu.Lock()
	defer c.mu.Unlock()
	for b, sum := range sums {
		if b < len(said) && !said[b].IsZero() && said[b] != sum && who[b] != "" {
			c.ban(who[b], "it gave the digest of other bytes than the origin's")
		}
	}
}
