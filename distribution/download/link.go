package download

import (
	"sync"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// node is what the engine knows of another node, over all objects.
type node struct {
	mu          sync.Mutex
	window      float64 // runs that may be in flight, adapted
	inflight    int
	rate        float64   // bytes/s of one run, smoothed; 0 is not known
	rest        time.Time // not asked before this
	strikes     int       // failures in a row
	quarantined bool
	packing     packing
}

const (
	firstWindow = 4.0
	firstRest   = 250 * time.Millisecond
	maxRest     = 15 * time.Second
)

// cost is the node's expected seconds for one more run of n bytes; false when it
// may not be asked now. What the node does not hold yet may take only half of
// the window, so that waiting for it never keeps back what is there.
func (n *node) cost(bytes int64, held bool, now time.Time) (float64, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	window := n.window
	if !held {
		window = max(1, window/2)
	}
	if !n.mayAsk(now) || float64(n.inflight) >= window {
		return 0, false
	}
	rate := n.rate
	if rate == 0 {
		rate = 10 << 20
	}
	return float64(n.inflight+1) * float64(bytes) / rate, true
}

// mayAsk tells a node that is neither quarantined nor resting. Callers hold mu.
func (n *node) mayAsk(now time.Time) bool { return !n.quarantined && !now.Before(n.rest) }

func (n *node) rested(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mayAsk(now)
}

func (n *node) begin() {
	n.mu.Lock()
	n.inflight++
	n.mu.Unlock()
}

// succeeded widens the window by one run for each windowful.
func (n *node) succeeded(bytes int64, took time.Duration, limit int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inflight--
	n.strikes = 0
	n.window = min(float64(limit), n.window+1/n.window)
	if seconds := took.Seconds(); seconds > 0 {
		rate := float64(bytes) / seconds
		if n.rate == 0 {
			n.rate = rate
		}
		n.rate += (rate - n.rate) / 4
	}
}

// yielded ends a run that was superseded: no verdict.
func (n *node) yielded() {
	n.mu.Lock()
	n.inflight--
	n.mu.Unlock()
}

// suffered narrows the window and rests the node: for the time that it asked
// for, or longer with every failure in a row.
func (n *node) suffered(rest time.Duration, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inflight--
	n.window = max(1, n.window/2)
	if rest == 0 {
		n.strikes++
		rest = min(maxRest, firstRest<<min(n.strikes-1, 6))
	}
	n.rest = now.Add(rest)
}

// link is a node in one object's swarm. Guarded by the task's mu.
type link struct {
	node   *node
	member distribution.Member
	// supernode: asked only by grant unless open.
	supernode bool
	open      bool
	all       bool          // it has every block
	have      *chunk.Bitmap // nil until told
	coming    *chunk.Bitmap // granted to it, on their way
	refused   *chunk.Bitmap // it said that it has not got these after all
}

// offers tells whether the node has block b, or is about to.
func (l *link) offers(b int) bool {
	if l.member.Chunks == "" || l.supernode && !l.open || l.refused != nil && l.refused.Has(b) {
		return false
	}
	return l.all || l.have != nil && l.have.Has(b) || l.coming != nil && l.coming.Has(b)
}

// holds tells whether the node has block b already.
func (l *link) holds(b int) bool {
	return l.offers(b) && (l.all || l.have != nil && l.have.Has(b))
}

// overdue forgets that blocks are coming: they did not, and waiting for them says
// nothing about the node. It will say when it has them.
func (l *link) overdue(run distribution.Span) {
	if l.coming != nil {
		setSpans(l.coming, []distribution.Span{run}, false)
	}
}

// ripe tells whether block b may be asked for: it is here, or among the next that
// will be. Blocks come one after the other; to ask for the end of a chunk whose
// beginning is still coming would only hold a place.
func (l *link) ripe(b int) bool {
	if !l.offers(b) || l.holds(b) {
		return l.offers(b)
	}
	for before := b - 1; before >= b-ripeness; before-- {
		if !l.coming.Has(before) {
			return true
		}
	}
	return false
}

// ripeness is how many coming blocks may lie before one that is asked for.
const ripeness = 4

// told takes a neighbour's whole state.
func (l *link) told(m *distribution.Have, blocks int) {
	l.all, l.refused = m.All, nil
	l.have, l.coming = chunk.NewBitmap(blocks), chunk.NewBitmap(blocks)
	if have, ok := chunk.ParseBitmap(m.Blocks, blocks); ok && len(m.Blocks) > 0 {
		l.have = have
	}
	setSpans(l.coming, m.Coming, true)
	if l.have.Full() {
		l.all = true
	}
}

// learned takes a neighbour's changes.
func (l *link) learned(m *distribution.Progress, blocks int) {
	if l.have == nil {
		l.have, l.coming = chunk.NewBitmap(blocks), chunk.NewBitmap(blocks)
	}
	setSpans(l.have, m.Got, true)
	setSpans(l.coming, m.Got, false)
	setSpans(l.coming, m.Coming, true)
	setSpans(l.coming, m.Lost, false)
	setSpans(l.have, m.Lost, false)
	if len(m.Lost) > 0 {
		l.all = false
	}
	if l.refused != nil {
		setSpans(l.refused, m.Got, false)
		setSpans(l.refused, m.Coming, false)
	}
	if l.have.Full() {
		l.all = true
	}
}

func setSpans(m *chunk.Bitmap, spans []distribution.Span, on bool) {
	for _, s := range spans {
		for b := int(s.First); b < min(s.End(), m.Len()); b++ {
			if on {
				m.Set(b)
			} else {
				m.Clear(b)
			}
		}
	}
}
