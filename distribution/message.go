package distribution

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/shoal-project/shoal/chunk"
)

// ProtocolVersion is that of the messages below. A node refuses another.
const ProtocolVersion = 1

// Bounds of what a message may carry (docs/PROTOCOL.md).
const (
	MaxMessage    = 2 << 20 // bytes, encoded
	MaxSpans      = 4096    // runs of blocks in one message
	MaxSums       = 4096    // block digests in one message
	MaxMembers    = 256     // neighbours in one message
	MaxAlso       = 256     // objects in one progress
	MaxHoldings   = 1024    // objects in one announcement
	MaxText       = 1024    // bytes of any text
	MaxCredential = 16 << 10
)

// Message is one of the structs below, as a pointer.
type Message interface {
	// Validate reports a value that no correct node sends.
	Validate() error
}

// Conn is an ordered stream of messages to another node whose identity is
// proved. Send queues and may be called by many; Receive by one. After Close,
// or when the other side is gone, both fail.
type Conn interface {
	Remote() NodeID
	Send(ctx context.Context, m Message) error
	Receive(ctx context.Context) (Message, error)
	Close() error
}

// OriginMode says who fetches from origins.
type OriginMode string

// The origin modes.
const (
	// ModeSupernode: the supernode fetches once and seeds.
	ModeSupernode OriginMode = "supernode"
	// ModeSpread: each peer is granted a different share to fetch.
	ModeSpread OriginMode = "spread"
)

// From peer to supernode.
type (
	// Hello opens a control stream.
	Hello struct {
		Version uint   `cbor:"1,keyasint"`
		Agent   string `cbor:"2,keyasint"` // program and version, for people
		// Chunks and Control are the ports; the host is the one that the
		// supernode sees, unless Host names another.
		Chunks  uint16 `cbor:"3,keyasint"`
		Control uint16 `cbor:"4,keyasint"`
		Host    string `cbor:"5,keyasint,omitempty"`
	}
	// Holding is one object of which a node has something.
	Holding struct {
		Object chunk.Digest `cbor:"1,keyasint"`
		Size   int64        `cbor:"2,keyasint"`
		Chunks []byte       `cbor:"3,keyasint,omitempty"` // have-map of chunks; empty is all
	}
	// Announce tells what a node holds, after Hello and after evictions.
	Announce struct {
		Holdings []Holding      `cbor:"1,keyasint,omitempty"`
		Gone     []chunk.Digest `cbor:"2,keyasint,omitempty"`
	}
	// Want joins the swarm of an object. Blocks is what the node already has,
	// empty for nothing.
	Want struct {
		Object        chunk.Digest `cbor:"1,keyasint"`
		Registry      string       `cbor:"2,keyasint"`
		Repository    string       `cbor:"3,keyasint"`
		Manifest      bool         `cbor:"4,keyasint,omitempty"`
		Authorization string       `cbor:"5,keyasint,omitempty"`
		Size          int64        `cbor:"6,keyasint,omitempty"` // of Blocks; 0 if nothing is held
		Blocks        []byte       `cbor:"7,keyasint,omitempty"` // have-map of blocks
		Derived       bool         `cbor:"8,keyasint,omitempty"` // no origin has it
	}
	// Need asks for a grant of blocks that a reader or an idle link waits for
	// and no neighbour offers.
	Need struct {
		Object chunk.Digest `cbor:"1,keyasint"`
		Spans  []Span       `cbor:"2,keyasint"`
	}
	// Report accuses a node of a wrong byte.
	Report struct {
		Object chunk.Digest `cbor:"1,keyasint"`
		Node   NodeID       `cbor:"2,keyasint"`
		Block  uint32       `cbor:"3,keyasint"`
	}
)

// Both ways, and between neighbours.
type (
	// Have is all that a node has, and is about to have, of an object.
	Have struct {
		Object chunk.Digest `cbor:"1,keyasint"`
		Size   int64        `cbor:"2,keyasint"`
		Blocks []byte       `cbor:"3,keyasint,omitempty"` // have-map of blocks; empty is none
		Coming []Span       `cbor:"4,keyasint,omitempty"`
		All    bool         `cbor:"5,keyasint,omitempty"` // every block; Blocks is empty
	}
	// Progress is what changed since the last Have or Progress.
	Progress struct {
		Object chunk.Digest `cbor:"1,keyasint"`
		Got    []Span       `cbor:"2,keyasint,omitempty"`
		Coming []Span       `cbor:"3,keyasint,omitempty"`
		Lost   []Span       `cbor:"4,keyasint,omitempty"` // neither here nor coming any more
		// Also is what changed of other objects, so that whoever trades several
		// is told of all at once. Those have no Also themselves.
		Also []Progress `cbor:"5,keyasint,omitempty"`
	}
	// Digests are block digests in a row. From the supernode they are its word,
	// provisional until it seals; from a peer they are those of blocks that it
	// was granted to fetch from the origin.
	Digests struct {
		Object chunk.Digest   `cbor:"1,keyasint"`
		First  uint32         `cbor:"2,keyasint"`
		Sums   []chunk.Digest `cbor:"3,keyasint"`
	}
	// Seek asks another peer, while no supernode answers, for what it has of an
	// object that no origin has. Who has it answers with Sealed, unless it is of
	// at most a chunk and so proves itself, and Have; others not at all.
	Seek struct {
		Object chunk.Digest `cbor:"1,keyasint"`
		Size   int64        `cbor:"2,keyasint"`
	}
	// Leave ends the sender's part in a swarm; nothing of it is on offer unless
	// Keeps says that it has everything and goes on giving.
	Leave struct {
		Object chunk.Digest `cbor:"1,keyasint"`
		Keeps  bool         `cbor:"2,keyasint,omitempty"`
	}
)

// From supernode to peer.
type (
	// Welcome answers Hello.
	Welcome struct {
		Version uint       `cbor:"1,keyasint"`
		Agent   string     `cbor:"2,keyasint"`
		Mode    OriginMode `cbor:"3,keyasint"`
		Chunks  uint16     `cbor:"4,keyasint"` // the supernode's own exchange port
	}
	// Opened answers Want: the swarm exists.
	Opened struct {
		Object chunk.Digest `cbor:"1,keyasint"`
		Size   int64        `cbor:"2,keyasint"`
		// Direct says to fetch all of it from the supernode, with no ceremony.
		Direct bool `cbor:"3,keyasint,omitempty"`
	}
	// Refused answers Want: the object cannot be had through the supernode.
	Refused struct {
		Object  chunk.Digest `cbor:"1,keyasint"`
		Status  int          `cbor:"2,keyasint"` // the origin's; 0 if there was none
		Message string       `cbor:"3,keyasint"`
	}
	// Neighbours adds to, or removes from, whom a peer trades an object with. With
	// the zero object it only tells of members, to be remembered.
	Neighbours struct {
		Object chunk.Digest `cbor:"1,keyasint"`
		Add    []Member     `cbor:"2,keyasint,omitempty"`
		Gone   []NodeID     `cbor:"3,keyasint,omitempty"`
		Full   []NodeID     `cbor:"4,keyasint,omitempty"` // those that have every block
	}
	// Grant allots blocks to this peer: from the origin, or from the supernode.
	Grant struct {
		Object chunk.Digest `cbor:"1,keyasint"`
		Origin bool         `cbor:"2,keyasint,omitempty"`
		Spans  []Span       `cbor:"3,keyasint,omitempty"`
		// Open says that the supernode has upload to spare: it may be asked for
		// any block like a neighbour that has everything.
		Open bool `cbor:"4,keyasint,omitempty"`
	}
	// Sealed ends all doubt: the list and the seal under it.
	Sealed struct {
		Object    chunk.Digest `cbor:"1,keyasint"`
		List      []byte       `cbor:"2,keyasint"` // chunk.List in binary form
		Key       []byte       `cbor:"3,keyasint"`
		Signature []byte       `cbor:"4,keyasint"`
	}
	// Drop says that the whole failed its digest: everything of it is void.
	Drop struct {
		Object chunk.Digest `cbor:"1,keyasint"`
		Reason string       `cbor:"2,keyasint"`
	}
	// Recall asks a holder for the list and seal that it has (answer: Sealed).
	Recall struct {
		Object chunk.Digest `cbor:"1,keyasint"`
	}
	// Quarantine says not to take anything from a node any more.
	Quarantine struct {
		Node   NodeID `cbor:"1,keyasint"`
		Reason string `cbor:"2,keyasint"`
	}
)

// ErrMessage says that a message breaks the protocol.
var ErrMessage = errors.New("protocol violation")

func bound(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: "+format, append([]any{ErrMessage}, args...)...)
}

func validSize(size int64) error {
	return bound(size >= 0 && size <= chunk.MaxObject, "object of %d bytes", size)
}

func validSpans(lists ...[]Span) error {
	for _, spans := range lists {
		if len(spans) > MaxSpans {
			return bound(false, "%d spans", len(spans))
		}
		for _, s := range spans {
			if s.N == 0 || s.End() > chunk.BlockCount(chunk.MaxObject) {
				return bound(false, "span %s", s)
			}
		}
	}
	return nil
}

func validMap(p []byte, n int) error {
	if len(p) == 0 {
		return nil
	}
	_, ok := chunk.ParseBitmap(p, n)
	return bound(ok, "have-map of %d bytes for %d bits", len(p), n)
}

func validMembers(members []Member) error {
	if len(members) > MaxMembers {
		return bound(false, "%d members", len(members))
	}
	for _, n := range members {
		if len(n.Chunks) > MaxText || len(n.Control) > MaxText {
			return bound(false, "a member's address")
		}
		if err := validID(n.ID); err != nil {
			return err
		}
	}
	return nil
}

func validID(id NodeID) error { return bound(id != "" && len(id) <= 128, "node id") }

// Validate checks the bounds.
func (m *Hello) Validate() error {
	return bound(m.Version != 0 && len(m.Agent) <= MaxText && len(m.Host) <= 255, "hello")
}

// Validate checks the bounds.
func (m *Announce) Validate() error {
	if len(m.Holdings) > MaxHoldings || len(m.Gone) > MaxHoldings {
		return bound(false, "%d holdings", len(m.Holdings)+len(m.Gone))
	}
	for _, h := range m.Holdings {
		if err := validSize(h.Size); err != nil {
			return err
		}
		if err := validMap(h.Chunks, chunk.Count(h.Size)); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks the bounds.
func (m *Want) Validate() error {
	if err := validSize(m.Size); err != nil {
		return err
	}
	if len(m.Registry) > 255 || len(m.Repository) > 255 || m.Registry == "" || m.Repository == "" || len(m.Authorization) > MaxCredential {
		return bound(false, "want of %.80q", m.Registry+"/"+m.Repository)
	}
	return validMap(m.Blocks, chunk.BlockCount(m.Size))
}

// Validate checks the bounds.
func (m *Need) Validate() error { return validSpans(m.Spans) }

// Validate checks the bounds.
func (m *Report) Validate() error { return validID(m.Node) }

// Validate checks the bounds.
func (m *Have) Validate() error {
	if err := validSize(m.Size); err != nil {
		return err
	}
	if err := validMap(m.Blocks, chunk.BlockCount(m.Size)); err != nil {
		return err
	}
	return validSpans(m.Coming)
}

// Validate checks the bounds.
func (m *Progress) Validate() error {
	spans := 0
	for p := range m.Each {
		if p != m && len(p.Also) > 0 {
			return bound(false, "progress within progress within progress")
		}
		if err := validSpans(p.Got, p.Coming, p.Lost); err != nil {
			return err
		}
		spans += p.Spans()
	}
	return bound(len(m.Also) < MaxAlso && (len(m.Also) == 0 || spans <= MaxSpans), "progress of %d objects with %d spans", 1+len(m.Also), spans)
}

// Spans counts them.
func (m *Progress) Spans() int { return len(m.Got) + len(m.Coming) + len(m.Lost) }

// Each gives the progress of every object in the message.
func (m *Progress) Each(yield func(*Progress) bool) {
	if !yield(m) {
		return
	}
	for i := range m.Also {
		if !yield(&m.Also[i]) {
			return
		}
	}
}

// Validate checks the bounds.
func (m *Digests) Validate() error {
	end := int(m.First) + len(m.Sums)
	return bound(len(m.Sums) > 0 && len(m.Sums) <= MaxSums && end <= chunk.BlockCount(chunk.MaxObject), "%d digests", len(m.Sums))
}

// Validate checks the bounds.
func (m *Seek) Validate() error { return validSize(m.Size) }

// Validate checks the bounds.
func (m *Leave) Validate() error { return nil }

// Validate checks the bounds.
func (m *Welcome) Validate() error {
	return bound(m.Version != 0 && len(m.Agent) <= MaxText && (m.Mode == ModeSupernode || m.Mode == ModeSpread), "welcome")
}

// Validate checks the bounds.
func (m *Opened) Validate() error { return validSize(m.Size) }

// Validate checks the bounds.
func (m *Refused) Validate() error {
	return bound(len(m.Message) <= MaxText && m.Status >= 0 && m.Status < 1000, "refusal")
}

// Validate checks the bounds.
func (m *Neighbours) Validate() error {
	if len(m.Gone) > MaxMembers || len(m.Full) > MaxMembers {
		return bound(false, "%d neighbours", len(m.Gone)+len(m.Full))
	}
	if err := validMembers(m.Add); err != nil {
		return err
	}
	for _, id := range slices.Concat(m.Gone, m.Full) {
		if err := validID(id); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks the bounds.
func (m *Grant) Validate() error { return validSpans(m.Spans) }

// Validate checks the bounds.
func (m *Sealed) Validate() error {
	return bound(len(m.Key) == 32 && len(m.Signature) == 64 && len(m.List) > 0, "seal")
}

// Validate checks the bounds.
func (m *Drop) Validate() error { return bound(len(m.Reason) <= MaxText, "drop") }

// Validate checks the bounds.
func (m *Recall) Validate() error { return nil }

// Validate checks the bounds.
func (m *Quarantine) Validate() error {
	if err := validID(m.Node); err != nil {
		return err
	}
	return bound(len(m.Reason) <= MaxText, "quarantine")
}
