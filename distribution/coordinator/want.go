package coordinator

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Bounds of what opening an object may take.
const (
	openPatience   = 60 * time.Second
	recallPatience = 2 * time.Second
	maxSources     = 8
)

// onWant lets a member into a swarm, which begins with the first one.
func (c *Coordinator) onWant(m *member, w *distribution.Want) {
	if w.Authorization == distribution.NodeCredentials {
		m.tell(&distribution.Refused{Object: w.Object, Message: "a peer cannot use this node's credentials"})
		return
	}
	s := c.swarms[w.Object]
	if s == nil {
		s = &swarm{id: w.Object, size: -1, parts: map[distribution.NodeID]*part{}}
		c.swarms[w.Object] = s
		for id := range c.holders[w.Object] {
			if h := c.members[id]; h != nil && !c.banned[id] && len(s.parts) < distribution.MaxMembers {
				s.parts[id] = &part{m: h, full: true, out: map[int]outstanding{}, fetches: map[int]bool{}, knows: map[distribution.NodeID]bool{}}
			}
		}
	}
	src := distribution.Source{
		Registry: w.Registry, Repository: w.Repository, Digest: w.Object,
		Manifest: w.Manifest, Derived: w.Derived, Authorization: w.Authorization,
	}
	s.derived = w.Derived
	if len(s.srcs) < maxSources {
		s.srcs = append(s.srcs, src)
	}
	p := &part{m: m, wants: true, out: map[int]outstanding{}, fetches: map[int]bool{}, knows: map[distribution.NodeID]bool{}}
	if old := s.parts[m.ID]; old != nil {
		c.part(s, old)
		c.swarms[s.id] = s
	}
	s.parts[m.ID] = p
	if have, ok := chunk.ParseBitmap(w.Blocks, chunk.BlockCount(w.Size)); ok && len(w.Blocks) > 0 && (!s.opened || s.size == w.Size) {
		p.have = have
	}
	if s.opened {
		c.tellOpened(s, p)
		c.welcome(s, p)
		return
	}
	if !s.busy {
		s.busy = true
		c.spawn(func() { c.openSwarm(s, src) })
	}
}

// tellOpened answers a Want; nothing else about the object is said before it.
func (c *Coordinator) tellOpened(s *swarm, p *part) {
	if p.have != nil && p.have.Len() != chunk.BlockCount(s.size) {
		p.have = nil
	}
	p.sized(chunk.BlockCount(s.size))
	c.metric.Wants.WithLabelValues("opened").Inc()
	p.m.tell(&distribution.Opened{Object: s.id, Size: s.size, Direct: s.direct()})
}

// welcome tells a member of an open swarm all that it must know.
func (c *Coordinator) welcome(s *swarm, p *part) {
	if s.direct() {
		return
	}
	s.count(p)
	c.introduce(s, p)
	if s.list != nil {
		p.m.tell(sealed(s))
		if s.derived && s.fetched {
			c.openTo(s, p)
		}
		return
	}
	all := []distribution.Span{{N: uint32(len(s.sums))}}
	for _, d := range s.known(all) {
		p.m.tell(d)
	}
}

func sealed(s *swarm) *distribution.Sealed {
	body, _ := s.list.MarshalBinary() // it was validated when it came
	return &distribution.Sealed{Object: s.id, List: body, Key: s.seal.Key, Signature: s.seal.Signature}
}

// openSwarm finds out the object's size, and begins to fetch it where that is
// the supernode's part. It runs outside the mutex.
func (c *Coordinator) openSwarm(s *swarm, src distribution.Source) {
	ctx, cancel := context.WithTimeout(c.ctx, openPatience)
	defer cancel()
	size, err := c.openBest(ctx, s, src)
	c.mu.Lock()
	defer c.mu.Unlock()
	s.busy = false
	if err != nil {
		c.refuse(s, err)
		return
	}
	if !s.opened {
		s.prepare(size, c.cfg.Unit)
	}
	c.catchUp(s)
	for _, p := range s.parts {
		if p.wants {
			c.tellOpened(s, p)
		} else {
			s.count(p)
		}
	}
	for _, p := range s.parts {
		if p.wants {
			c.welcome(s, p)
		}
	}
	if !s.wanted() {
		c.end(s)
	}
	c.poke()
}

// openBest takes the cheapest way to the object: this node's store, the seal
// that a holder has, the origin.
func (c *Coordinator) openBest(ctx context.Context, s *swarm, src distribution.Source) (int64, error) {
	if _, ok := c.engine.Holds(s.id); !ok {
		if size, ok := c.recallSeal(ctx, s); ok {
			return size, nil
		}
		if src.Derived {
			return 0, &distribution.OriginError{Status: http.StatusNotFound, Message: "neither the supernode nor a peer has it now"}
		}
		if c.cfg.Mode == distribution.ModeSpread {
			size, err := c.deps.Origin.Stat(ctx, src)
			if err != nil || size > chunk.Size {
				return size, err
			}
		}
	}
	reader, err := c.engine.Open(ctx, src)
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.reader, s.fetched = reader, true
	if list, seal, ok := c.engine.SealOf(s.id); ok {
		s.list, s.seal = list, seal
	}
	return reader.Size(), nil
}

// recallSeal asks holders of an object that the supernode has not for its list.
func (c *Coordinator) recallSeal(ctx context.Context, s *swarm) (int64, bool) {
	c.mu.Lock()
	s.recall = make(chan *distribution.Sealed, 4)
	asked := 0
	for _, p := range s.parts {
		if p.full && asked < cap(s.recall) {
			p.m.tell(&distribution.Recall{Object: s.id})
			asked++
		}
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, recallPatience)
	defer cancel()
	for ; asked > 0; asked-- {
		select {
		case m := <-s.recall:
			list, err := chunk.ParseList(m.List)
			seal := chunk.Seal{Key: m.Key, Signature: m.Signature}
			if err != nil || list.Object != s.id || !c.deps.Trusts(list, seal) {
				continue
			}
			c.mu.Lock()
			s.list, s.seal = list, seal
			c.mu.Unlock()
			return list.Size, true
		case <-ctx.Done():
			return 0, false
		}
	}
	return 0, false
}

func (c *Coordinator) onRecalled(_ *member, m *distribution.Sealed) {
	if s := c.swarms[m.Object]; s != nil && s.recall != nil {
		select {
		case s.recall <- m:
		default:
		}
	}
}

// catchUp takes over what the engine has already. Callers hold mu.
func (c *Coordinator) catchUp(s *swarm) {
	if !s.fetched {
		return
	}
	if s.list == nil {
		if list, seal, ok := c.engine.SealOf(s.id); ok {
			s.list, s.seal = list, seal
		}
	}
	here, sums := c.engine.Present(s.id)
	if here == nil || here.Len() != s.present.Len() {
		return
	}
	for b := here.NextSet(0); b < here.Len(); b = here.NextSet(b + 1) {
		s.present.Set(b)
		if s.sums[b].IsZero() {
			s.sums[b] = sums[b]
		}
	}
}

// fetch makes the supernode fetch an object whose holders fail. Callers hold mu.
func (c *Coordinator) fetch(s *swarm) {
	if len(s.srcs) == 0 {
		return
	}
	s.busy = true
	src := s.srcs[len(s.srcs)-1]
	c.spawn(func() {
		ctx, cancel := context.WithTimeout(c.ctx, openPatience)
		defer cancel()
		reader, err := c.engine.Open(ctx, src)
		c.mu.Lock()
		defer c.mu.Unlock()
		s.busy = false
		if err != nil {
			c.log.Warn("cannot fetch what its holders do not give", "source", src, "error", err)
			return
		}
		s.reader, s.fetched = reader, true
		c.catchUp(s)
		if !s.wanted() {
			c.end(s)
		}
		c.poke()
	})
}

// refuse tells everybody that the object cannot be had. Callers hold mu.
func (c *Coordinator) refuse(s *swarm, err error) {
	r := &distribution.Refused{Object: s.id, Message: text(err)}
	var refusal *distribution.OriginError
	if errors.As(err, &refusal) {
		r.Status = refusal.Status
	}
	for _, p := range s.parts {
		if p.wants {
			c.metric.Wants.WithLabelValues("refused").Inc()
			p.m.tell(r)
		}
	}
	c.end(s)
}

func text(err error) string {
	s := err.Error()
	return s[:min(len(s), distribution.MaxText)]
}

// onLeave takes a member out of a swarm, or makes it one that only gives.
func (c *Coordinator) onLeave(m *member, msg *distribution.Leave) {
	s := c.swarms[msg.Object]
	if msg.Keeps && s != nil && s.opened {
		c.hold(m.ID, msg.Object, s.size)
	}
	if s == nil || s.parts[m.ID] == nil {
		return
	}
	p := s.parts[m.ID]
	if msg.Keeps && s.opened && !s.direct() {
		p.wants, p.full = false, true
		p.sized(len(s.sums))
		p.have.SetAll()
		for u := range p.out {
			c.ungrant(s, p, u)
			if s.times[u] == 0 {
				s.mark(u, 1)
			}
		}
		c.becameFull(s, p)
	} else {
		c.part(s, p)
	}
	if !s.wanted() && !s.busy && !s.leading {
		c.end(s)
	}
}

// part takes a member out. Callers hold mu.
func (c *Coordinator) part(s *swarm, p *part) {
	if s.parts[p.m.ID] != p {
		return
	}
	delete(s.parts, p.m.ID)
	if s.opened && s.times != nil {
		for u := range p.out {
			c.ungrant(s, p, u)
		}
	}
	gone := &distribution.Neighbours{Object: s.id, Gone: []distribution.NodeID{p.m.ID}}
	for _, q := range s.parts {
		if q.knows[p.m.ID] {
			delete(q.knows, p.m.ID)
			q.m.tell(gone)
		}
	}
	c.seekSeal(s, time.Now())
	if !s.wanted() && !s.busy && !s.leading {
		c.end(s)
	}
}

// end forgets a swarm. Callers hold mu.
func (c *Coordinator) end(s *swarm) {
	if c.swarms[s.id] == s {
		delete(c.swarms, s.id)
	}
	for _, p := range s.parts {
		for u := range p.out {
			c.settle(s, p, u, false, time.Now())
		}
	}
	if reader := s.reader; reader != nil {
		s.reader = nil
		_ = reader.Close()
	}
}
