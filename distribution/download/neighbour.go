package download

import (
	"context"
	"sync"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// neighbour is a stream to another peer, over which each tells the other what it
// has. One serves all objects; whoever needs one first dials it.
type neighbour struct {
	conn    distribution.Conn // nil while it is being dialled; guarded by around
	queued  []distribution.Message
	sending sync.Mutex // keeps messages in order
	// Answers that it had since then; guarded by around.
	since   time.Time
	answers int
}

// maxQueued bounds what waits for a neighbour's dial, and maxEarly what
// neighbours say before this node knows why.
const (
	maxQueued = 1024
	maxEarly  = 256
)

// greet sends a message to a neighbour, dialling it if there is no stream yet.
// It does not block.
func (e *Engine) greet(m distribution.Member, msg distribution.Message) {
	e.around.Lock()
	defer e.around.Unlock()
	n := e.neighbours[m.ID]
	if n == nil {
		n = &neighbour{}
		e.neighbours[m.ID] = n
		e.group.Go(func() error { e.dialNeighbour(m, n); return nil })
	}
	if len(n.queued) < maxQueued {
		n.queued = append(n.queued, msg)
	}
	if n.conn != nil {
		e.group.Go(func() error { e.flush(n); return nil })
	}
}

func (e *Engine) dialNeighbour(m distribution.Member, n *neighbour) {
	ctx, cancel := context.WithTimeout(e.ctx, 5*time.Second)
	defer cancel()
	conn, err := e.deps.Neighbour(ctx, m)
	if err != nil {
		e.log.Debug("neighbour cannot be reached", "node", string(m.ID), "error", err)
		e.around.Lock()
		if e.neighbours[m.ID] == n && n.conn == nil {
			delete(e.neighbours, m.ID)
		}
		e.around.Unlock()
		return
	}
	e.ServeNeighbour(e.ctx, conn)
}

// ServeNeighbour listens to a neighbour's stream, accepted or dialled, until it
// ends.
func (e *Engine) ServeNeighbour(ctx context.Context, conn distribution.Conn) {
	defer conn.Close()
	id := conn.Remote()
	e.around.Lock()
	if e.ctx.Err() != nil {
		e.around.Unlock()
		return
	}
	n := e.neighbours[id]
	if n == nil {
		n = &neighbour{}
		e.neighbours[id] = n
	}
	if n.conn == nil {
		n.conn = conn
	}
	e.around.Unlock()
	e.metrics.Neighbours.Inc()
	defer e.metrics.Neighbours.Dec()
	e.flush(n)
	for {
		m, err := conn.Receive(ctx)
		if err != nil {
			break
		}
		e.hear(id, m)
	}
	e.around.Lock()
	if e.neighbours[id] == n && n.conn == conn {
		delete(e.neighbours, id)
	}
	e.around.Unlock()
}

// flush sends what is queued, in order.
func (e *Engine) flush(n *neighbour) {
	n.sending.Lock()
	defer n.sending.Unlock()
	for {
		e.around.Lock()
		queued, conn := n.queued, n.conn
		if conn != nil {
			n.queued = nil
		}
		e.around.Unlock()
		if len(queued) == 0 || conn == nil {
			return
		}
		for _, m := range queued {
			e.send(conn, m)
		}
	}
}

// spread sends a message to the neighbours of an object that have a stream.
func (e *Engine) spread(members []distribution.Member, m distribution.Message) {
	for _, member := range members {
		e.around.Lock()
		n := e.neighbours[member.ID]
		if n != nil && len(n.queued) < maxQueued {
			n.queued = append(n.queued, m)
		}
		e.around.Unlock()
		if n != nil {
			e.flush(n)
		}
	}
}

// neighbours are the members of the object's swarm that this node knows.
// Callers hold mu.
func (t *task) neighbours() []distribution.Member {
	var members []distribution.Member
	if t.e.deps.Neighbour == nil || t.led {
		return nil
	}
	for _, l := range t.links {
		if !l.supernode && l.member.ID != "" {
			members = append(members, l.member)
		}
	}
	return members
}

// hear takes in what a neighbour says of an object.
func (e *Engine) hear(id distribution.NodeID, m distribution.Message) {
	switch m := m.(type) {
	case *distribution.Have:
		e.onHave(id, m)
	case *distribution.Progress:
		for p := range m.Each {
			e.onProgress(id, p)
		}
	case *distribution.Seek:
		e.onSeek(id, m)
	case *distribution.Sealed:
		e.onFound(id, m)
	case *distribution.Leave:
		e.with(m.Object, func(t *task) {
			if l := t.links[id]; l != nil && !m.Keeps {
				delete(t.links, id)
			}
		})
	}
}

func (e *Engine) onHave(id distribution.NodeID, m *distribution.Have) {
	known := false
	e.with(m.Object, func(t *task) {
		if m.All && m.Size <= chunk.Size && t.seeks(m.Size) {
			t.found(id, m.Size)
		}
		if l := t.links[id]; l != nil && t.have != nil && t.size == m.Size {
			l.told(m, t.have.Len())
			known = true
		}
	})
	if known {
		return
	}
	e.around.Lock()
	defer e.around.Unlock()
	if len(e.early) >= maxEarly {
		clear(e.early)
	}
	l := &link{}
	l.told(m, chunk.BlockCount(m.Size))
	e.early[acquaintance{m.Object, id}] = l
}

func (e *Engine) onProgress(id distribution.NodeID, m *distribution.Progress) {
	known := false
	e.with(m.Object, func(t *task) {
		if l := t.links[id]; l != nil && t.have != nil {
			l.learned(m, t.have.Len())
			known = true
		}
	})
	if known {
		return
	}
	e.around.Lock()
	defer e.around.Unlock()
	if l := e.early[acquaintance{m.Object, id}]; l != nil {
		l.learned(m, l.have.Len())
	}
}

// acquaintance is a node that spoke of an object before the supernode introduced
// it: its own introduction came sooner.
type acquaintance struct {
	object chunk.Digest
	id     distribution.NodeID
}

// takeEarly is what a node said of an object before it was a neighbour in it.
func (e *Engine) takeEarly(object chunk.Digest, id distribution.NodeID) *link {
	e.around.Lock()
	defer e.around.Unlock()
	a := acquaintance{object, id}
	l := e.early[a]
	delete(e.early, a)
	return l
}

// Neighbour tells a task that this node leads what a member has of it.
func (e *Engine) Neighbour(member distribution.Member, m distribution.Message) {
	switch m := m.(type) {
	case *distribution.Have:
		e.with(m.Object, func(t *task) {
			t.meet(member)
			if l := t.links[member.ID]; l != nil {
				l.told(m, t.have.Len())
			}
		})
	default:
		e.hear(member.ID, m)
	}
}

// Learn tells a task that this node leads the digests of blocks that members
// fetched from the origin.
func (e *Engine) Learn(object chunk.Digest, first int, sums []chunk.Digest) {
	e.with(object, func(t *task) { t.onDigests(first, sums) })
}
