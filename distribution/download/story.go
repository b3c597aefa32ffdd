package download

import (
	"slices"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// The kinds of source that metrics, status and explanations name.
const (
	fromStore     = "store" // this node's, from before
	fromOrigin    = "origin"
	fromSupernode = "supernode"
	fromPeer      = "peer"
)

// Teller names a source of blocks: its kind and, for a node, which.
type Teller struct {
	Kind string              `json:"kind"`
	Node distribution.NodeID `json:"node,omitempty"`
}

// story remembers where an object's blocks came from and what went wrong.
// Guarded by the task's mu; bounded.
type story struct {
	who   []Teller
	block []uint8 // index into who plus one; 0 is not here
	notes []string
}

const maxNotes = 32

func (s *story) init(blocks int) {
	s.block = make([]uint8, blocks)
	s.who = []Teller{{Kind: fromStore}, {Kind: fromOrigin}}
}

func (s *story) came(b int, from Teller) {
	i := slices.Index(s.who, from)
	if i < 0 && len(s.who) < 254 {
		i = len(s.who)
		s.who = append(s.who, from)
	}
	s.block[b] = uint8(i + 1)
}

func (s *story) note(text string) {
	if len(s.notes) == maxNotes {
		s.notes = slices.Delete(s.notes, 0, 1)
	}
	s.notes = append(s.notes, time.Now().UTC().Format("15:04:05 ")+text)
}

// Part is what one source gave of an object.
type Part struct {
	Teller
	Bytes  int64               `json:"bytes"`
	Blocks []distribution.Span `json:"blocks"`
}

// Explanation is the story of an object: for `peer explain`.
type Explanation struct {
	Object chunk.Digest `json:"object"`
	Size   int64        `json:"size"`
	State  string       `json:"state"`
	Sealed bool         `json:"sealed"`
	Error  string       `json:"error,omitempty"`
	Parts  []Part       `json:"parts"`
	Notes  []string     `json:"notes,omitempty"`
}

// explain tells the story so far. Callers hold mu.
func (t *task) explain() Explanation {
	x := Explanation{Object: t.id, Size: t.size, State: t.state.String(), Sealed: t.list != nil, Notes: slices.Clone(t.story.notes)}
	if t.err != nil {
		x.Error = t.err.Error()
	}
	parts := make([]Part, len(t.story.who))
	for b, i := range t.story.block {
		if i == 0 && t.held.Has(b) {
			i = 1
		}
		if i == 0 {
			continue
		}
		p := &parts[i-1]
		p.Bytes += chunk.BlockLength(t.size, b)
		p.Blocks = add(p.Blocks, b)
	}
	for i, p := range parts {
		if p.Bytes > 0 {
			p.Teller = t.story.who[i]
			x.Parts = append(x.Parts, p)
		}
	}
	return x
}
