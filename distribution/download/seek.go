package download

import (
	"fmt"
	"slices"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// While no supernode answers, nobody introduces a node to those that have an
// object that no origin has. It asks the members of whom it was told before, and
// believes of their answers only what proves itself: a list under a trusted seal,
// or, of an object of at most a chunk, the bytes themselves.

const (
	// maxKnown bounds the members that are remembered.
	maxKnown = 64
	// maxAnswers bounds what one neighbour is answered in a second.
	maxAnswers = 256
)

// know remembers members of whom the supernode tells; the newest stay.
func (e *Engine) know(members []distribution.Member) {
	e.around.Lock()
	defer e.around.Unlock()
	for _, m := range members {
		if m.ID == e.deps.Self || m.Chunks == "" {
			continue
		}
		e.known = append(slices.DeleteFunc(e.known, func(k distribution.Member) bool { return k.ID == m.ID }), m)
	}
	e.known = slices.Delete(e.known, 0, max(0, len(e.known)-maxKnown))
}

// acquaintances are the known members that are not quarantined.
func (e *Engine) acquaintances() []distribution.Member {
	e.around.Lock()
	known := slices.Clone(e.known)
	e.around.Unlock()
	return slices.DeleteFunc(known, func(m distribution.Member) bool { return e.node(m.ID).shunned() })
}

func (n *node) shunned() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.quarantined
}

// seek asks all acquaintances for the object, now and then. Callers hold mu.
func (t *task) seek(now time.Time) {
	src, ok := t.source()
	if !ok || !t.derived || t.e.deps.Neighbour == nil || now.Sub(t.sought) < t.e.cfg.LastResort/4 {
		return
	}
	t.sought = now
	members := t.e.acquaintances()
	t.asked = len(members)
	for _, m := range members {
		t.e.greet(m, &distribution.Seek{Object: t.id, Size: src.Size})
	}
}

// seekMore asks again while somebody waits for a block that no neighbour offers.
// Callers hold mu.
func (t *task) seekMore(now time.Time) {
	if now.Sub(t.sought) < t.e.cfg.LastResort/4 {
		return
	}
	for _, p := range []distribution.Priority{distribution.Demand, distribution.Ahead, distribution.Fill} {
		for _, s := range t.wanted(p) {
			for b := int(s.First); b < s.End(); b++ {
				if !t.here(b) && !t.offered(b, now) {
					t.seek(now)
					return
				}
			}
		}
	}
}

// seeks tells whether the task hears answers about an object of a size: it asked,
// and no supernode is about to say more. Callers hold mu.
func (t *task) seeks(size int64) bool {
	src, ok := t.source()
	open := t.state == opening || t.state == fetching
	return ok && open && !t.swept && t.looping && !t.sought.IsZero() && t.derived && src.Size == size && (t.orphan || !t.member)
}

// found lets the task go on among neighbours, of which this is one. Callers hold
// mu, and have seen that it seeks.
func (t *task) found(id distribution.NodeID, size int64) {
	members := t.e.acquaintances()
	i := slices.IndexFunc(members, func(m distribution.Member) bool { return m.ID == id })
	if i < 0 {
		return
	}
	if t.obj == nil {
		obj, err := t.e.deps.Store.Create(t.id, size)
		if err != nil {
			t.refusal = err.Error()
			return
		}
		t.attach(obj)
	}
	if t.size != size {
		return
	}
	t.sure, t.small = true, size <= chunk.Size
	t.member, t.orphan = true, true
	switch {
	case t.links[id] != nil:
	case t.small:
		t.links[id] = &link{node: t.e.node(id), member: members[i]}
	default:
		t.meet(members[i])
	}
}

// among tells a task that can go on without a supernode. Callers hold mu.
func (t *task) among() bool {
	if !t.orphan || t.have == nil {
		return false
	}
	if t.small {
		return t.giver() != nil
	}
	return t.list != nil && len(t.links) > 0
}

// giver is whom to ask for a small object: the supernode before all others.
// Callers hold mu.
func (t *task) giver() *link {
	var giver *link
	for _, l := range t.links {
		if l.supernode {
			return l
		}
		if l.all && !l.node.shunned() {
			giver = l
		}
	}
	return giver
}

// onFound takes the list and the seal of an object that is sought.
func (e *Engine) onFound(id distribution.NodeID, m *distribution.Sealed) {
	t := e.task(m.Object)
	if t == nil {
		return
	}
	t.mu.Lock()
	src, _ := t.source()
	sought, sealed := t.seeks(src.Size), t.list != nil
	t.mu.Unlock()
	if !sought {
		return
	}
	list, err := chunk.ParseList(m.List)
	seal := chunk.Seal{Key: m.Key, Signature: m.Signature}
	if err != nil || !e.trusts(list, seal, m.Object, src.Size) {
		t.log.Warn("a neighbour's seal that cannot be trusted was refused", "node", string(id), "error", err)
		return
	}
	e.with(m.Object, func(t *task) {
		if t.seeks(list.Size) {
			t.found(id, list.Size)
		}
	})
	if !sealed && t.knownSize() == list.Size {
		e.keepSeal(t, list, seal)
	}
}

// onSeek answers with what the store has of an object, if a seal that this node
// trusts is with it.
func (e *Engine) onSeek(id distribution.NodeID, m *distribution.Seek) {
	if !e.mayAnswer(id, time.Now()) {
		return
	}
	obj, err := e.deps.Store.Open(m.Object)
	if err != nil {
		return
	}
	defer obj.Close()
	have := obj.Have()
	list, seal, ok := obj.Sealed()
	if !ok || have.Count() == 0 || !e.trusts(list, seal, m.Object, m.Size) {
		return
	}
	asker := []distribution.Member{{ID: id}}
	if body, err := list.MarshalBinary(); err == nil && m.Size > chunk.Size {
		e.spread(asker, &distribution.Sealed{Object: m.Object, List: body, Key: seal.Key, Signature: seal.Signature})
	}
	e.spread(asker, stored(m, have))
}

// stored is what a store has, as blocks.
func stored(m *distribution.Seek, have *chunk.Bitmap) *distribution.Have {
	if have.Full() {
		return &distribution.Have{Object: m.Object, Size: m.Size, All: true}
	}
	blocks := chunk.NewBitmap(chunk.BlockCount(m.Size))
	for c := have.NextSet(0); c < have.Len(); c = have.NextSet(c + 1) {
		first, end := chunk.ChunkBlocks(m.Size, c)
		setSpans(blocks, []distribution.Span{{First: uint32(first), N: uint32(end - first)}}, true)
	}
	return &distribution.Have{Object: m.Object, Size: m.Size, Blocks: blocks.Bytes()}
}

// mayAnswer bounds what a neighbour costs by asking.
func (e *Engine) mayAnswer(id distribution.NodeID, now time.Time) bool {
	e.around.Lock()
	defer e.around.Unlock()
	n := e.neighbours[id]
	if n == nil {
		return false
	}
	if now.Sub(n.since) >= time.Second {
		n.since, n.answers = now, 0
	}
	n.answers++
	return n.answers <= maxAnswers
}

// unanswered says for people how far an object was sought. Callers hold mu.
func (t *task) unanswered() string {
	if t.asked == 0 {
		return "no supernode answers"
	}
	return fmt.Sprintf("no supernode answers, and none of the %d nodes that were asked has it", t.asked)
}
