package coordinator

import (
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// swarm is one object that some member wants. It ends with the last of them;
// who holds the object is remembered beside it.
type swarm struct {
	id      chunk.Digest
	srcs    []distribution.Source // callers' ways to the origin, newest last
	opened  bool
	busy    bool // an opening runs
	recall  chan *distribution.Sealed
	size    int64
	parts   map[distribution.NodeID]*part
	reader  distribution.Reader // keeps the engine's task alive; nil if none
	fetched bool                // the supernode has it or fetches it
	leading bool                // the supernode takes it from members, to seal it
	derived bool                // no origin has it; members take what they need when they need it

	present *chunk.Bitmap // blocks that the supernode has
	sums    []chunk.Digest
	who     []distribution.NodeID // whose word a block's digest is, if a member's
	fresh   []distribution.Span   // digests not sent yet
	list    *chunk.List
	seal    chunk.Seal

	unit      int           // blocks a grant
	times     []uint8       // how often each unit was granted, or is held by a member
	next      int           // no unit before it is at zero times
	left      int           // units at zero times
	requests  int           // granted to origins and outstanding
	fullSince time.Time     // since when some member has everything
	gap       time.Duration // between blocks of a request to the origin, smoothed
	usual     time.Duration // that a unit takes from its grant to its arrival, smoothed
}

// outstanding is a grant that has not ended.
type outstanding struct {
	since   time.Time
	paced   bool // counted by the pace
	request *request
}

// request is a run of granted units that a member fetches as one.
type request struct {
	began  time.Time
	left   int       // units outstanding
	blocks int       // arrived
	moved  time.Time // when it was last heard to move
	block  time.Time // when a block of it last arrived
	origin bool
}

// part is a member's place in a swarm.
type part struct {
	m       *member
	wants   bool // false: it has everything and gives
	full    bool
	have    *chunk.Bitmap
	out     map[int]outstanding // units granted and not there yet
	fetches map[int]bool        // units that it was ever granted to fetch from the origin
	knows   map[distribution.NodeID]bool
	open    bool // told that the supernode may be asked for anything
}

// prepare sizes the swarm's tables once the size is known.
func (s *swarm) prepare(size int64, unit int) {
	n := chunk.BlockCount(size)
	s.size, s.opened, s.unit = size, true, unit
	s.present = chunk.NewBitmap(n)
	s.sums = make([]chunk.Digest, n)
	units := (n + unit - 1) / unit
	s.times = make([]uint8, units)
	s.left = units
	s.who = make([]distribution.NodeID, n)
	for _, p := range s.parts {
		p.sized(n)
	}
}

func (p *part) sized(blocks int) {
	if p.have == nil {
		p.have = chunk.NewBitmap(blocks)
	}
	if p.full {
		p.have.SetAll()
	}
}

// span is the blocks of unit u.
func (s *swarm) span(u int) distribution.Span {
	first := u * s.unit
	return distribution.Span{First: uint32(first), N: uint32(min(s.unit, s.present.Len()-first))}
}

// holds tells whether a have-map has all of unit u.
func (s *swarm) holds(have *chunk.Bitmap, u int) bool {
	span := s.span(u)
	return have.NextClear(int(span.First)) >= span.End()
}

// mark books that unit u was granted (1), or was not after all (-1).
func (s *swarm) mark(u, change int) {
	if s.times[u] == 0 {
		s.left--
	}
	s.times[u] = uint8(min(255, int(s.times[u])+change))
	if s.times[u] == 0 {
		s.left++
		s.next = min(s.next, u)
	}
}

// advance moves next over units that were granted.
func (s *swarm) advance() {
	for s.next < len(s.times) && s.times[s.next] > 0 {
		s.next++
	}
}

// spent tells that every unit went out once.
func (s *swarm) spent() bool {
	s.advance()
	return s.next >= len(s.times)
}

// direct tells an object that is taken from the supernode in one piece. Parts of
// layers are read at random, so they are traded by block unless they are one.
func (s *swarm) direct() bool {
	if s.derived {
		return s.size <= chunk.BlockSize
	}
	return s.size <= chunk.Size
}

func (s *swarm) wanted() bool {
	for _, p := range s.parts {
		if p.wants {
			return true
		}
	}
	return false
}

// count books a member's blocks as being in the swarm.
func (s *swarm) count(p *part) {
	for u := range s.times {
		if s.times[u] == 0 && s.holds(p.have, u) {
			s.mark(u, 1)
		}
	}
}

// each calls f for every unit that a span touches.
func (s *swarm) each(spans []distribution.Span, f func(u int)) {
	last := -1
	for _, span := range spans {
		for b := int(span.First); b < min(span.End(), s.present.Len()); b++ {
			if u := b / s.unit; u != last {
				last = u
				f(u)
			}
		}
	}
}
