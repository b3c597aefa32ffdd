//go:build linux

package fuse

import (
	"context"
	"errors"
	"os"

	"github.com/shoal-project/shoal/chunk"
)

// ErrNever says that an object's bytes will not come however long one waits.
// A [Content] wraps it to make a read fail at once instead of at its deadline.
var ErrNever = errors.New("the bytes will never come")

// Content gives an image's objects. Its methods are called from many
// goroutines at once.
type Content interface {
	// Open is called at the first use of an object by an image, once until it
	// succeeds. A file system removes an image only after Open returned, so it
	// should not wait for bytes.
	Open(object chunk.Digest, size int64) (Object, error)
}

// Object is the content of an object, here or still to come.
type Object interface {
	// File has the object's plain bytes from offset 0. What is absent reads as
	// garbage. It stays the same, and open, until Close; bytes that were present
	// are never cut off or overwritten with others while the object is open.
	File() *os.File
	// Present tells whether a range is in File, verified. It does no I/O.
	Present(off, n int64) bool
	// Complete tells whether all bytes are present, for good.
	Complete() bool
	// Fetch brings a range in ahead of all that nobody waits for, and returns
	// when it is present. Other calls may ask for the same bytes.
	Fetch(ctx context.Context, off, n int64) error
	// Ahead hints that a range will be wanted soon. It does not block.
	Ahead(off, n int64)
	// Close is called once, when no other method runs.
	Close() error
}
