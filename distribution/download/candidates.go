package download

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// horizon bounds how many blocks past the first missing one, and how many runs,
// are weighed at a time, so that choosing stays cheap in the largest objects.
const horizon = 4096

// candidate is a run that could be asked of some neighbour.
type candidate struct {
	run      distribution.Span
	priority distribution.Priority
	rarity   int
	tie      uint32
}

// candidates are the missing runs that are not in flight, best first.
func (t *task) candidates() []candidate {
	var list []candidate
	var outside []distribution.Span
	for _, p := range []distribution.Priority{distribution.Demand, distribution.Ahead, distribution.Fill} {
		spans, first := t.wanted(p), len(list)
		list = t.runsIn(list, spans, outside)
		for i := range list[first:] {
			list[first+i].priority = p
		}
		outside = append(outside, spans...)
	}
	slices.SortFunc(list, func(a, b candidate) int {
		switch {
		case a.priority != b.priority:
			return cmp.Compare(a.priority, b.priority)
		case a.priority < distribution.Fill:
			return cmp.Compare(a.run.First, b.run.First)
		case a.rarity != b.rarity:
			return cmp.Compare(a.rarity, b.rarity)
		}
		return cmp.Compare(a.tie, b.tie)
	})
	return list
}

// provable tells whether block b from a neighbour could be verified: its digest
// is known, or will be. While the supernode is away nobody says new ones.
func (t *task) provable(b int) bool {
	return !t.orphan || t.list != nil || !t.sums[b].IsZero()
}

// runsIn adds, to disjoint candidates, the runs within the spans and outside of
// the others: each is missing, not in flight, provable and offered.
func (t *task) runsIn(list []candidate, spans, outside []distribution.Span) []candidate {
	for _, s := range spans {
		for b := int(s.First); b < s.End() && len(list) < horizon; {
			run, ok := t.nextRun(b, t.e.cfg.Run)
			if !ok || int(run.First) >= s.End() {
				break
			}
			if b = int(run.First); within(outside, b) {
				b++
				continue
			}
			run.N = uint32(min(run.End(), s.End()) - b)
			for k := range run.N {
				if within(outside, b+int(k)) {
					run.N = k
					break
				}
			}
			b = run.End()
			if c := (candidate{run: run, rarity: t.rarity(int(run.First)), tie: rand.Uint32()}); c.rarity > 0 && t.provable(int(run.First)) {
				list = append(list, c)
			}
		}
	}
	return list
}

// rarity is how many neighbours offer block b.
func (t *task) rarity(b int) int {
	n := 0
	for _, l := range t.links {
		if l.offers(b) {
			n++
		}
	}
	return n
}

// urgent are the blocks that a reader waits for, or will soon: the read-ahead of
// one that reads on, or what one asked for. The spans are in order and disjoint.
func (t *task) urgent() []distribution.Span { return t.wanted(distribution.Demand) }

// wanted are the blocks that are to come with a priority. Of an object that is
// wanted whole, as many as may be weighed at a time from the first missing one on
// are to be filled in; of another, only what was asked for.
func (t *task) wanted(p distribution.Priority) []distribution.Span {
	if p == distribution.Fill && t.everything {
		first := t.missing(0)
		return []distribution.Span{{First: uint32(first), N: uint32(min(horizon, t.have.Len()-first))}}
	}
	return t.spans(func(r *reader) int {
		switch {
		case !r.waiting || r.priority != p:
			return 0
		case r.end > 0:
			return r.end
		}
		return r.block + int(t.e.cfg.ReadAhead/chunk.BlockSize)
	})
}

// spans joins, for each reader, the blocks from where it stands to the end that is
// told of it.
func (t *task) spans(end func(r *reader) int) []distribution.Span {
	var spans []distribution.Span
	for r := range t.readers {
		if e := min(end(r), t.have.Len()); e > r.block {
			spans = append(spans, distribution.Span{First: uint32(r.block), N: uint32(e - r.block)})
		}
	}
	slices.SortFunc(spans, func(a, b distribution.Span) int { return cmp.Compare(a.First, b.First) })
	joined := spans[:0]
	for _, s := range spans {
		if k := len(joined) - 1; k >= 0 && int(s.First) <= joined[k].End() {
			joined[k].N = uint32(max(joined[k].End(), s.End()) - int(joined[k].First))
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

func within(spans []distribution.Span, b int) bool {
	for _, s := range spans {
		if b >= int(s.First) && b < s.End() {
			return true
		}
	}
	return false
}
