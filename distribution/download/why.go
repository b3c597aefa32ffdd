package download

import (
	"fmt"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// Why says for people what the first missing byte of a range waits for now. It is
// empty for an object that is not open, and for a range that is here.
func (e *Engine) Why(id chunk.Digest, off, n int64) string {
	t := e.task(id)
	if t == nil || off < 0 || n <= 0 {
		return ""
	}
	_, connected := e.Connected()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.have == nil || off >= t.size {
		return t.whyUnknown(connected)
	}
	end := chunk.BlockCount(min(off+n, t.size))
	for b := int(off / chunk.BlockSize); b < end; b++ {
		if !t.here(b) {
			return t.why(b, connected, time.Now())
		}
	}
	return ""
}

// whyUnknown is of an object whose swarm has not answered yet. Callers hold mu.
func (t *task) whyUnknown(connected bool) string {
	switch {
	case connected:
		return "the supernode was asked who has the object"
	case t.e.deps.Supernode != nil:
		return t.unanswered()
	}
	return "the object is looked for"
}

// why is of one block that is not here. Callers hold mu.
func (t *task) why(b int, connected bool, now time.Time) string {
	for f := range t.fetches {
		if int(f.run.First) <= b && b < f.run.End() {
			return fmt.Sprintf("asked of %s %s ago", f.whom(), now.Sub(f.started).Round(100*time.Millisecond))
		}
	}
	switch {
	case t.member && !t.joined && !t.orphan:
		return t.whyUnknown(connected)
	case t.offered(b, now):
		return "it is about to be asked of a node that has it"
	case !connected && t.e.deps.Supernode != nil:
		return fmt.Sprintf("no supernode answers, and none of the %d nodes that are known to this one has it", max(len(t.links), t.asked))
	case t.refusal != "":
		return "the supernode says: " + t.refusal
	}
	return fmt.Sprintf("none of the %d nodes that are known to this one has it now", len(t.links))
}

// whom names who was asked.
func (f *fetch) whom() string {
	switch {
	case f.link == nil:
		return "the registry"
	case f.link.supernode:
		return "the supernode"
	}
	return "node " + string(f.link.member.ID)
}
