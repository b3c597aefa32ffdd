package coordinator

import (
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// Slow is not dead. A grant that is taken back is fetched twice, so it is only
// taken from a member that gives no sign of life, or that is hopelessly slower
// than the others while they wait.

const (
	// usualTimes is how much longer than usual a member may be silent.
	usualTimes = 4
	// hopeless is how many times slower than the others' a request from the origin
	// must be to be given to somebody else while it moves.
	hopeless = 48
)

// shunned is for how long a member from which a grant was taken back is granted
// nothing more from origins, if there are others.
const shunned = 30 * time.Second

// awaken tells how long ago it was when the rounds last looked, if that was so long
// that this process, or its machine, stood still meanwhile: nobody could be heard,
// which says nothing about anybody.
func (c *Coordinator) awaken(now time.Time) time.Duration {
	gap := now.Sub(c.looked)
	if c.looked.IsZero() || gap < c.cfg.Stall/2 {
		gap = 0
	}
	c.looked = now
	return gap
}

// forgive takes time in which nobody could be heard off everybody's account.
func (s *swarm) forgive(gap time.Duration, now time.Time) {
	later := func(t *time.Time) { *t = distribution.Forgiven(*t, gap, now) }
	done := map[*request]bool{} // one may be of several units
	for _, p := range s.parts {
		for u, o := range p.out {
			later(&o.since)
			p.out[u] = o
			if r := o.request; !done[r] {
				done[r] = true
				later(&r.began)
				later(&r.moved)
				later(&r.block)
			}
		}
	}
}

// reclaim takes grants back that bring nothing.
func (c *Coordinator) reclaim(s *swarm, now time.Time) {
	for _, p := range s.parts {
		patience := max(c.cfg.Stall, usualTimes*p.m.usual)
		for u, o := range p.out {
			if now.Sub(o.request.moved) <= patience && !c.hopeless(s, p, o.request, now) {
				continue
			}
			c.metric.Reclaimed.Inc()
			c.ungrant(s, p, u)
			if o.request.origin {
				p.m.shunned = now.Add(shunned)
			}
		}
	}
}

// hopeless tells a request that moves, but so much slower than is usual that it
// would hold all others up. When the others are silent as well, it is not the
// member that is slow.
func (c *Coordinator) hopeless(s *swarm, p *part, r *request, now time.Time) bool {
	silence, took := now.Sub(r.block), now.Sub(r.began)
	pace := max(silence, took/time.Duration(r.blocks+1))
	if !r.origin || s.gap == 0 || took <= c.cfg.Stall || pace <= hopeless*s.gap {
		return false
	}
	able, others, silent := 0, 0, 0
	for _, q := range s.parts {
		if q == p {
			continue
		}
		if q.wants && !now.Before(q.m.shunned) {
			able++
		}
		for _, o := range q.out {
			others++
			if now.Sub(o.request.block) > pace/2 {
				silent++
			}
		}
	}
	return able > 0 && (silent == 0 || 2*silent < others)
}

// moved books a sign of life of a request.
func (m *member) moved(r *request, now time.Time) {
	gap := now.Sub(r.moved)
	r.moved = now
	m.usual = max(m.usual, gap)
	m.usual += (gap - m.usual) / 16
}

// brought books that a block of a request arrived.
func (s *swarm) brought(m *member, r *request, now time.Time) {
	m.moved(r, now)
	gap := now.Sub(r.block)
	r.block = now
	r.blocks++
	if !r.origin {
		return
	}
	if s.gap == 0 {
		s.gap = gap
	}
	s.gap += (gap - s.gap) / 16
}
