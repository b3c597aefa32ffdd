package distribution

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// NodeID is a node's libp2p peer ID in its text form. It is the hash of, or
// holds, the node's public key, so it can be proved.
type NodeID string

// Member is a node that others may ask for blocks.
type Member struct {
	ID NodeID `cbor:"1,keyasint" json:"id"`
	// Chunks is host:port of its exchange server.
	Chunks string `cbor:"2,keyasint" json:"chunks"`
	// Control is host:port of its control listener; empty if it takes none.
	Control string `cbor:"3,keyasint,omitempty" json:"control,omitempty"`
}

// Span is a run of N consecutive blocks of an object from First.
type Span struct {
	First uint32 `cbor:"1,keyasint" json:"first"`
	N     uint32 `cbor:"2,keyasint" json:"n"`
}

// End is the block after the last.
func (s Span) End() int { return int(s.First) + int(s.N) }

func (s Span) String() string { return fmt.Sprintf("[%d,%d)", s.First, s.End()) }

// These errors can occur when blocks are asked of another node.
var (
	// ErrAbsent: the node has not, and does not expect, these blocks.
	ErrAbsent = errors.New("node does not have these blocks")
	// ErrMembership: the other side is not a member, or not who it should be.
	ErrMembership = errors.New("not a member of this network")
)

// BusyError says that all of a node's upload slots are taken.
type BusyError struct{ RetryAfter time.Duration }

func (e *BusyError) Error() string { return fmt.Sprintf("node is busy for %s", e.RetryAfter) }

// Run is a run of blocks that lies within one chunk of an object of Size bytes.
type Run struct {
	Object chunk.Digest
	Size   int64
	Span   Span
	// Packed asks for it to travel compressed, which is sooner on a slow link.
	Packed bool
}

// Exchange is the asking end.
type Exchange interface {
	// Fetch asks a node for a run of blocks. The answer streams: it may begin before the node has
	// all of the run itself. The caller verifies every block.
	Fetch(ctx context.Context, from Member, r Run) (*Transfer, error)
}

// Transfer is a run of blocks on its way.
type Transfer struct {
	// Sums are all block digests of the run's chunk, if the sender knows them
	// all; unverified. Nil otherwise.
	Sums chunk.Sums
	// Body has exactly the run's bytes; closing it early gives up the rest.
	Body io.ReadCloser
}

// Uploads is what the giving end serves from.
type Uploads interface {
	// Upload opens an object for giving; chunk.ErrNotFound if it is not here.
	Upload(object chunk.Digest) (Upload, error)
}

// Upload is one object being given, possibly while it arrives.
type Upload interface {
	Size() int64
	// Sums are the block digests of a chunk when all are known, else nil.
	Sums(chunk int) chunk.Sums
	// Await returns how many bytes from off on, at least 1 and at most n, are
	// here and verified. It waits for bytes that are on their way, until ctx
	// ends; ErrAbsent when they are not.
	Await(ctx context.Context, off, n int64) (int64, error)
	// ReadAt reads bytes that Await vouched for.
	ReadAt(p []byte, off int64) (int, error)
	// File opens the bytes' own file for sendfile, with an offset of its own;
	// the caller closes it. Nil without an error if there is none.
	File() (*os.File, error)
	Close() error
}
