package coordinator

import (
	"cmp"
	"slices"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// allotOrigins lets members fetch from the origin. A registry is paid by the
// request, so a member takes a whole chunk while there is plenty; towards the end
// of the work of all objects together it takes less, so that nobody has much left
// to fetch when the others are done. Objects take turns, so that the first blocks
// of all come soon. Each member begins one request a round: of a crowd that comes
// at once, the first to be heard does not take everything.
func (c *Coordinator) allotOrigins(now time.Time) {
	w := c.work(now)
	if w.left == 0 {
		return
	}
	may := func(m *member) bool {
		return m.requests < w.requests && m.round != c.rounds && (!now.Before(m.shunned) || w.members == 0)
	}
	for some := true; some; {
		some = false
		slices.SortStableFunc(w.swarms, func(a, b *swarm) int { return cmp.Compare(a.requests, b.requests) })
		for _, s := range w.swarms {
			if u, ok := s.first(); ok {
				some = c.allotOrigin(s, u, &w, may, now) || some
			}
		}
	}
	if w.left > 0 && c.more(w) {
		c.poke()
	}
}

// allotOrigin grants one request from unit u on, if somebody may take it.
func (c *Coordinator) allotOrigin(s *swarm, u int, w *work, may func(m *member) bool, now time.Time) bool {
	p := c.taker(s, u, may, now)
	if p == nil {
		return false
	}
	n := s.ungranted(u, max(1, w.left/max(1, w.members)))
	grants := grants{}
	c.grant(s, p, u, n, grants, now)
	grants.tell()
	p.m.round = c.rounds
	w.left -= n
	return true
}

// work is what is yet to be granted from origins.
type work struct {
	swarms   []*swarm
	left     int // units of all objects
	members  int // who may take them; none if all are shunned
	requests int // that each may have outstanding
}

// work gathers it.
func (c *Coordinator) work(now time.Time) work {
	var w work
	for _, m := range c.members {
		m.works = false
	}
	for _, s := range c.swarms {
		if !s.opened || s.derived || s.direct() || !c.spread(s) {
			continue
		}
		w.swarms = append(w.swarms, s)
		w.left += s.left
		for _, p := range s.parts {
			if p.wants && !p.m.works && !now.Before(p.m.shunned) {
				p.m.works = true
				w.members++
			}
		}
	}
	w.requests = max(1, c.cfg.OriginParallel/max(1, w.members))
	return w
}

// more tells that a member that began a request in this round may begin another
// in the next.
func (c *Coordinator) more(w work) bool {
	for _, m := range c.members {
		if m.works && m.round == c.rounds && m.requests < w.requests {
			return true
		}
	}
	return false
}

// needOrigin grants what a member asks for and nobody has or fetches: at once,
// with one request more than it may have otherwise.
func (c *Coordinator) needOrigin(s *swarm, p *part, u int, now time.Time) {
	w := c.work(now)
	c.allotOrigin(s, u, &w, func(m *member) bool { return m == p.m && m.requests <= w.requests }, now)
}

// first is the first unit that nobody was granted.
func (s *swarm) first() (int, bool) {
	s.advance()
	return s.next, s.next < len(s.times)
}

// ungranted is how many units from u on may be granted as one request: no more
// than most, and within one chunk.
func (s *swarm) ungranted(u, most int) int {
	chunkUnits := chunk.BlocksPerChunk / s.unit
	end := min(u-u%chunkUnits+chunkUnits, u+most, len(s.times))
	n := 1
	for u+n < end && s.times[u+n] == 0 {
		n++
	}
	return n
}
