package download

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// withPort is the member with another chunk port at the host that was dialled.
func withPort(m distribution.Member, port uint16) distribution.Member {
	if host, _, err := net.SplitHostPort(m.Control); err == nil {
		m.Chunks = net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	return m
}

// join asks the supernode to let the task into the object's swarm. Whatever goes
// wrong with that leaves the task an authority; only ctx's end is an error.
func (e *Engine) join(ctx context.Context, t *task) error {
	s := e.live(ctx)
	_, ok := t.want()
	if s == nil || !ok {
		if e.deps.Supernode != nil {
			t.mu.Lock()
			t.fallback("no supernode answers")
			t.mu.Unlock()
		}
		return context.Cause(ctx)
	}
	t.rejoin(s)
	wait, cancel := context.WithTimeout(ctx, e.cfg.LastResort)
	defer cancel()
	err := t.await(wait, func() bool { return t.joined || t.refusal != "" || t.orphan })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.joined && !t.orphan:
		return nil
	case t.state == failed:
		return t.err
	case t.refusal != "":
		t.fallback("the supernode refused")
	case err != nil:
		t.fallback("the supernode did not open it in time")
	default:
		t.fallback("the supernode is away")
	}
	t.member = t.orphan && t.size >= 0 && len(t.links) > 0
	return nil
}

func (t *task) want() (distribution.Source, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.source()
}

// rejoin sends the task's Want over a session, if it is one that wants.
func (t *task) rejoin(s *session) {
	src, ok := t.want()
	if src.Authorization == distribution.NodeCredentials {
		src.Authorization = ""
		if t.e.deps.Own != nil {
			src.Authorization = t.e.deps.Own(t.e.ctx, src.Registry)
		}
	}
	t.mu.Lock()
	if !ok || t.led || !t.looping || t.state == done || t.state == failed || t.authority() {
		t.mu.Unlock()
		return
	}
	t.member, t.orphan, t.joined, t.refusal = true, false, false, ""
	t.spread = s.mode == distribution.ModeSpread
	t.links[s.member.ID] = &link{node: t.e.node(s.member.ID), member: s.member, supernode: true}
	w := &distribution.Want{
		Object: t.id, Registry: src.Registry, Repository: src.Repository,
		Manifest: src.Manifest, Derived: src.Derived, Authorization: src.Authorization,
	}
	if t.size >= 0 && t.have != nil {
		w.Size, w.Blocks = t.size, t.hereMap().Bytes()
	}
	t.mu.Unlock()
	t.e.send(s.conn, w)
}

// obey does what the supernode says.
func (e *Engine) obey(s *session, m distribution.Message) {
	switch m := m.(type) {
	case *distribution.Opened:
		e.with(m.Object, func(t *task) { t.onOpened(m) })
	case *distribution.Refused:
		e.with(m.Object, func(t *task) {
			if t.joined {
				t.onGivenUp()
			}
			t.refusal = fmt.Sprintf("%d %s", m.Status, m.Message)
			t.story.note("the supernode refused: " + t.refusal)
		})
	case *distribution.Neighbours:
		e.know(m.Add)
		e.with(m.Object, func(t *task) { t.onNeighbours(m) })
	case *distribution.Grant:
		e.with(m.Object, func(t *task) { t.onGrant(m) })
	case *distribution.Digests:
		e.with(m.Object, func(t *task) { t.onDigests(int(m.First), m.Sums) })
	case *distribution.Sealed:
		e.onSealed(m)
	case *distribution.Deriving:
		e.onDeriving(m)
	case *distribution.Derived:
		e.onDerived(m)
	case *distribution.Drop:
		e.with(m.Object, func(t *task) { t.onDrop(m) })
	case *distribution.Recall:
		if list, seal, ok := e.SealOf(m.Object); ok {
			if body, err := list.MarshalBinary(); err == nil {
				e.tell(&distribution.Sealed{Object: m.Object, List: body, Key: seal.Key, Signature: seal.Signature})
			}
		}
	case *distribution.Quarantine:
		e.log.Warn("the supernode quarantined a node", "node", string(m.Node), "reason", m.Reason)
		e.quarantine(m.Node)
	default:
		e.log.Warn("unexpected message from the supernode", "type", fmt.Sprintf("%T", m))
		_ = s.conn.Close()
	}
}

// with runs f under the mu of a live task, and wakes everybody up.
func (e *Engine) with(id chunk.Digest, f func(t *task)) {
	t := e.task(id)
	if t == nil {
		return
	}
	t.mu.Lock()
	if t.state != failed {
		f(t)
		t.signal()
	}
	t.mu.Unlock()
	t.poke()
}

// onGivenUp goes on without the supernode, which cannot get the object any more.
func (t *task) onGivenUp() {
	if up := t.supernodeLink(); up != nil {
		delete(t.links, up.member.ID)
	}
	if t.state != fetching || t.origin {
		return
	}
	if t.derived {
		t.giveUp("the supernode has not got it any more")
		return
	}
	t.orphan, t.origin = true, true
	t.fallback("the supernode gave up")
}

func (t *task) onOpened(m *distribution.Opened) {
	if t.joined {
		return
	}
	if t.obj == nil || t.size != m.Size {
		if t.obj != nil {
			_ = t.obj.Close()
			t.obj = nil
		}
		// Nobody reads yet: readers wait for a certain size.
		obj, err := t.e.deps.Store.Create(t.id, m.Size)
		if err != nil {
			t.refusal = err.Error()
			return
		}
		t.attach(obj)
	}
	t.sure = true
	t.small = m.Direct && m.Size <= chunk.Size
	t.joined = true
	t.progress = time.Now()
}

func (t *task) onNeighbours(m *distribution.Neighbours) {
	for _, id := range m.Gone {
		if l := t.links[id]; l != nil && !l.supernode {
			delete(t.links, id)
		}
	}
	for _, member := range m.Add {
		t.meet(member)
	}
	for _, id := range m.Full {
		if l := t.links[id]; l != nil {
			l.all, l.refused = true, nil
		}
	}
}

// meet adds a neighbour and tells it what is here. Callers hold mu.
func (t *task) meet(member distribution.Member) {
	if member.ID == t.e.deps.Self || t.have == nil {
		return
	}
	l := t.links[member.ID]
	if l == nil {
		l = &link{node: t.e.node(member.ID)}
		t.links[member.ID] = l
	}
	l.member = member
	if early := t.e.takeEarly(t.id, member.ID); early != nil && early.have.Len() == t.have.Len() {
		l.have, l.coming, l.all = early.have, early.coming, early.all
	}
	if t.e.deps.Neighbour != nil && !t.led {
		t.e.greet(member, t.haveNow())
	}
}

// haveNow is all that is here and coming. Callers hold mu.
func (t *task) haveNow() *distribution.Have {
	h := &distribution.Have{Object: t.id, Size: t.size}
	here := t.hereMap()
	if here.Full() {
		h.All = true
		return h
	}
	h.Blocks = here.Bytes()
	for f := range t.fetches {
		if f.granted && len(h.Coming) < distribution.MaxSpans {
			h.Coming = append(h.Coming, f.run)
		}
	}
	return h
}

func (t *task) onGrant(m *distribution.Grant) {
	if up := t.supernodeLink(); up != nil && m.Open {
		up.open, up.all = true, true
	}
	for _, run := range m.Spans {
		if t.have != nil && run.End() <= t.have.Len() && len(t.grants) < distribution.MaxSpans {
			t.grants = append(t.grants, granted{run: run, origin: m.Origin})
		}
	}
}

func (t *task) onDigests(first int, sums []chunk.Digest) {
	for i, sum := range sums {
		if b := first + i; b < len(t.sums) && t.sums[b].IsZero() {
			t.sums[b] = sum
		}
	}
}

func (e *Engine) onSealed(m *distribution.Sealed) {
	list, err := chunk.ParseList(m.List)
	seal := chunk.Seal{Key: m.Key, Signature: m.Signature}
	t := e.task(m.Object)
	if err != nil || !e.trusts(list, seal, m.Object, list.Size) {
		e.log.Error("a seal that cannot be trusted was refused", "object", m.Object.String(), "error", err)
		return
	}
	if t == nil || t.whole() {
		e.reseal(list, seal)
		return
	}
	if t.knownSize() != list.Size {
		return
	}
	e.keepSeal(t, list, seal)
}

// keepSeal takes a verified seal, not in a stream's own time: the disk may be slow.
func (e *Engine) keepSeal(t *task, list *chunk.List, seal chunk.Seal) {
	e.group.Go(func() error {
		if err := t.takeSeal(list, seal); err != nil {
			t.fail(err, false)
		}
		e.sweep(t)
		return nil
	})
}

// reseal puts the supernode's seal in the place of this node's own, so that the
// list counts with others too.
func (e *Engine) reseal(list *chunk.List, seal chunk.Seal) {
	obj, err := e.deps.Store.Open(list.Object)
	if err != nil {
		return
	}
	defer obj.Close()
	if mine, _, ok := obj.Sealed(); ok && slices.Equal(mine.Chunks, list.Chunks) {
		if err := obj.Seal(list, seal); err != nil {
			e.log.Warn("cannot keep a seal", "object", list.Object.String(), "error", err)
		}
	}
}

func (t *task) knownSize() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.size
}

// onDrop voids an object whose whole failed at the supernode. Readers that were
// given bytes of it fail; others start over at the origin.
func (t *task) onDrop(m *distribution.Drop) {
	if t.state != fetching || t.list != nil {
		return
	}
	t.log.Error("the supernode voided the object", "reason", m.Reason)
	t.e.group.Go(func() error {
		t.fail(fmt.Errorf("%s: %w: %s", t.id, ErrWhole, m.Reason), true)
		return nil
	})
}
