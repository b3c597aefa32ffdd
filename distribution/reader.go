package distribution

import (
	"context"
	"io"

	"github.com/shoal-project/shoal/chunk"
)

// Objects opens objects for reading, from the store, the swarm or the origin,
// whatever is soonest. The download engine implements it.
type Objects interface {
	// Open returns as soon as the size is known. Readers of one object on a node
	// share one download. An *OriginError says that the origin refused.
	Open(ctx context.Context, src Source) (Reader, error)
	// Holds tells whether the whole object is here and vouched for by a seal,
	// and its size. It costs no I/O on the network.
	Holds(object chunk.Digest) (size int64, ok bool)
}

// Priority says what a part of an object is asked for. The less urgent gives way to
// the more urgent, in any object.
type Priority int8

// The priorities.
const (
	Demand Priority = iota // somebody waits for it
	Ahead                  // somebody will want it soon
	Fill                   // it is to be here one day
)

// Reader is an open object. It is safe for concurrent use.
type Reader interface {
	// Size in bytes.
	Size() int64
	// CopyRange writes n bytes from off to w, in order, as they arrive. Every
	// byte was verified in its block, provisionally while the object is not
	// sealed. It uses w's io.ReaderFrom (sendfile) where that helps. The count
	// is what was written.
	CopyRange(ctx context.Context, w io.Writer, off, n int64) (int64, error)
	// Wait returns when the whole object is here and sealed, or cannot be had.
	Wait(ctx context.Context) error
	Close() error
}
