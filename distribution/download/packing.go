package download

import (
	"math/rand/v2"
	"time"
)

// packing is what is known of a node about runs that travel plain and packed:
// which is sooner depends on the link and on both ends' processors, so it is
// measured. Guarded by the node's mu.
type packing struct {
	plain, packed float64 // plain bytes a second of one run, smoothed; 0 is not known
}

const (
	// explore is how rarely, one in so many, the way that seemed slower is tried
	// again.
	explore = 128
	// margin is how many times sooner plain runs must have been. Single runs vary
	// that much by what else is on its way; where a link is slow, a plain run in
	// error takes it twice to four times as long.
	margin = 1.25
	// smooth is how many runs a rate remembers.
	smooth = 16
)

// pack decides whether the next run from the node travels packed.
func (n *node) pack() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch p := n.packing; {
	case p.packed == 0:
		return true
	case p.plain == 0:
		return false
	default:
		return (margin*p.packed > p.plain) != (rand.IntN(explore) == 0)
	}
}

// timed learns how long a run took.
func (n *node) timed(packed bool, bytes int64, took time.Duration) {
	if took <= 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	known := &n.packing.plain
	if packed {
		known = &n.packing.packed
	}
	rate := float64(bytes) / took.Seconds()
	if *known == 0 {
		*known = rate
	}
	*known += (rate - *known) / smooth
}
