package download

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// schedule starts what can be started. Callers hold mu.
func (t *task) schedule(now time.Time) {
	if t.state != fetching {
		return
	}
	t.takeGrants()
	t.fromNeighbours(now)
	t.fromOriginNow(now)
	t.askForMore(now)
}

// takeGrants starts every granted run at once: the supernode paces them.
func (t *task) takeGrants() {
	grants := t.grants
	t.grants = nil
	for _, g := range grants {
		var from *link
		if !g.origin {
			if from = t.supernodeLink(); from == nil {
				continue
			}
		}
		for b := int(g.run.First); b < g.run.End(); {
			run, ok := t.grantedRun(b, g.run.End())
			if !ok {
				break
			}
			t.launch(&fetch{run: run, link: from, granted: true})
			b = run.End()
		}
	}
}

// grantedRun is the first missing run in [b, end) within one chunk. Blocks that
// another fetch is about to bring are taken again only from a grant's source.
func (t *task) grantedRun(b, end int) (distribution.Span, bool) {
	b = t.missing(b)
	if b >= end {
		return distribution.Span{}, false
	}
	run := distribution.Span{First: uint32(b)}
	for border := b - b%chunk.BlocksPerChunk + chunk.BlocksPerChunk; b < min(end, border) && !t.here(b); b++ {
		run.N++
	}
	return run, true
}

func (t *task) supernodeLink() *link {
	for _, l := range t.links {
		if l.supernode {
			return l
		}
	}
	return nil
}

// fromNeighbours asks neighbours for what a reader waits for, then for the
// rarest, then once more for what is slow.
func (t *task) fromNeighbours(now time.Time) {
	flying := 0
	for f := range t.fetches {
		if f.link != nil && !f.granted {
			flying++
		}
	}
	ready := t.ready(now)
	if flying >= t.e.cfg.Inflight || len(ready) == 0 {
		return
	}
	for _, c := range t.candidates() {
		if !t.everything && !t.e.demand.mayStart(c.priority, now) {
			break // the rest is not more urgent
		}
		run, l := t.best(c.run, t.spare(ready, c), now, (*link).ripe, (*link).offers)
		if l == nil {
			continue
		}
		t.launch(&fetch{run: run, link: l, behind: !t.everything && c.priority > distribution.Demand})
		if flying++; flying >= t.e.cfg.Inflight {
			return
		}
	}
	t.hedge(now, ready)
}

// spare leaves the supernode out where neighbours have what is not urgent: its
// upload is for what nobody else has.
func (t *task) spare(ready []*link, c candidate) []*link {
	if c.priority < distribution.Fill || !t.derived {
		return ready
	}
	neighbours := slices.DeleteFunc(slices.Clone(ready), func(l *link) bool { return l.supernode || !l.offers(int(c.run.First)) })
	if len(neighbours) == 0 {
		return ready
	}
	return neighbours
}

// ready are the links that may be asked now.
func (t *task) ready(now time.Time) []*link {
	var ready []*link
	for _, l := range t.links {
		if _, ok := l.node.cost(chunk.BlockSize, true, now); ok && l.member.Chunks != "" && (!l.supernode || l.open) {
			ready = append(ready, l)
		}
	}
	return ready
}

// best is the link that would bring the run's start soonest, of those that can
// start it, and as much of the run as that link gives.
func (t *task) best(run distribution.Span, ready []*link, now time.Time, starts, gives func(*link, int) bool) (distribution.Span, *link) {
	var chosen *link
	least := 0.0
	for _, l := range ready {
		if !starts(l, int(run.First)) {
			continue
		}
		cost, ok := l.node.cost(int64(run.N)*chunk.BlockSize, l.holds(int(run.First)), now)
		if !ok {
			continue
		}
		cost *= 0.9 + 0.2*rand.Float64()
		if chosen == nil || cost < least {
			chosen, least = l, cost
		}
	}
	if chosen == nil {
		return run, nil
	}
	n := uint32(1)
	for n < run.N && gives(chosen, int(run.First+n)) {
		n++
	}
	run.N = n
	return run, chosen
}

// hedge asks another holder for the rest of a fetch that is slow: in the endgame
// soon, before that only when it is far behind.
func (t *task) hedge(now time.Time, ready []*link) {
	patience := t.e.cfg.Stall / 4
	if left := t.have.Len() - t.have.Count() - t.held.Count(); left <= 2*chunk.BlocksPerChunk {
		patience = t.e.cfg.Stall / 12
	}
	patience = t.patience(patience)
	for f := range t.fetches {
		if now.Sub(f.last) < patience {
			continue
		}
		rest := t.rest(f)
		if rest.N == 0 || t.flights[rest.First] > 1 {
			continue
		}
		run, l := t.best(rest, ready, now, (*link).holds, (*link).holds)
		if l == nil || l == f.link {
			continue
		}
		t.launch(&fetch{run: run, link: l})
	}
}

// rest is what a fetch has not brought yet, within one chunk.
func (t *task) rest(f *fetch) distribution.Span {
	b := t.missing(int(f.run.First))
	if b >= f.run.End() {
		return distribution.Span{}
	}
	end := min(f.run.End(), b-b%chunk.BlocksPerChunk+chunk.BlocksPerChunk, b+t.e.cfg.Run)
	return distribution.Span{First: uint32(b), N: uint32(end - b)}
}

// askForMore tells the supernode what nobody offers, when a reader waits for it
// or nothing at all is on its way.
func (t *task) askForMore(now time.Time) {
	const every = 100 * time.Millisecond
	if !t.member || t.orphan || now.Sub(t.needed) < every || now.Sub(t.progress) < every {
		return
	}
	urgent := t.urgent()
	var spans []distribution.Span
	for b := t.originStart(); len(spans) < 8; {
		run, ok := t.nextRun(b, t.e.cfg.Run)
		if !ok {
			break
		}
		if (len(t.fetches) == 0 || within(urgent, int(run.First))) && !t.offered(int(run.First), now) {
			spans = append(spans, run)
		}
		b = run.End()
	}
	if len(spans) > 0 {
		t.needed = now
		t.news.need = &distribution.Need{Object: t.id, Spans: spans}
		t.touch(0)
	}
}

// offered tells whether a node that may be asked has block b. Callers hold mu.
func (t *task) offered(b int, now time.Time) bool {
	for _, l := range t.links {
		if l.offers(b) && l.node.rested(now) {
			return true
		}
	}
	return false
}
