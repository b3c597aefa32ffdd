package download

import "github.com/shoal-project/shoal/distribution"

// gossip tells everybody the news of all objects: whoever trades several of them
// with this node is told in one message and woken up once. The first task whose
// batch is due tells for all.

// gossip sends what is new. Unless it must be now, it leaves that to another
// task that is just doing it.
func (e *Engine) gossip(now bool) {
	if now {
		e.gossiping.Lock()
	} else if !e.gossiping.TryLock() {
		return
	}
	defer e.gossiping.Unlock()
	g := gathered{said: map[distribution.NodeID][]*distribution.Progress{}}
	e.around.Lock()
	fresh := e.fresh
	e.fresh = map[*task]struct{}{}
	e.around.Unlock()
	for t := range fresh {
		g.gather(t)
	}
	for _, m := range g.neighbours {
		for _, p := range merge(g.said[m.ID]) {
			e.spread([]distribution.Member{m}, p)
		}
	}
	for _, m := range g.toSupernode {
		e.tell(m)
	}
	for _, p := range merge(g.all) {
		e.tell(p)
	}
}

// gathered is the news of all tasks, by who is to hear it.
type gathered struct {
	neighbours  []distribution.Member
	said        map[distribution.NodeID][]*distribution.Progress
	all         []*distribution.Progress // for the supernode
	toSupernode []distribution.Message   // for it alone
}

func (g *gathered) gather(t *task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.news.due.IsZero() {
		return
	}
	toAll, toSupernode := t.news.take(t)
	g.toSupernode = append(g.toSupernode, toSupernode...)
	g.all = append(g.all, toAll...)
	if len(toAll) == 0 {
		return
	}
	for _, m := range t.neighbours() {
		if _, known := g.said[m.ID]; !known {
			g.neighbours = append(g.neighbours, m)
		}
		g.said[m.ID] = append(g.said[m.ID], toAll...)
	}
}

// merge makes as few messages of a list as their bounds allow.
func merge(list []*distribution.Progress) []*distribution.Progress {
	var merged []*distribution.Progress
	spans := 0
	for _, p := range list {
		k := len(merged) - 1
		if k < 0 || spans+p.Spans() > distribution.MaxSpans || len(merged[k].Also)+1 >= distribution.MaxAlso {
			first := *p // others are told it in other company
			merged, spans = append(merged, &first), p.Spans()
			continue
		}
		merged[k].Also = append(merged[k].Also, *p)
		spans += p.Spans()
	}
	return merged
}
