package chunk

import (
	"errors"
	"os"
	"time"
)

// These errors can occur when a store is asked for, or given, an object.
var (
	// ErrNotFound: the store has no such object.
	ErrNotFound = errors.New("object is not in the store")
	// ErrSize: the store has the object with another size.
	ErrSize = errors.New("object has another size")
	// ErrInUse: the object is open or pinned and cannot be removed.
	ErrInUse = errors.New("object is in use")
	// ErrFull: quota, free-space floor or the disk leave no room, and nothing
	// that is not in use can be evicted.
	ErrFull = errors.New("store is full")
	// ErrPresent: a write into a chunk that is present already. The bytes are
	// there; a source that lost a race can ignore it.
	ErrPresent = errors.New("chunk is already present")
	// ErrPin: a pin has a name or a size that none can have, or there are too
	// many.
	ErrPin = errors.New("pin refused")
	// ErrClosed: the store or the handle was closed.
	ErrClosed = errors.New("store is closed")
)

// Store keeps objects by digest. Every implementation passes storetest.Run.
//
// What a store says it has survives a crash: a chunk is reported by Have only
// if its bytes were given to Put and were correct, whatever happened since to
// the process or the machine. What it cannot vouch for after a crash it checks,
// or forgets.
type Store interface {
	// Open gives a handle to an object that the store has, whole or in part,
	// or ErrNotFound. It marks the object as just used.
	Open(d Digest) (Object, error)
	// Create is Open that makes an empty object of size bytes when there is
	// none. ErrSize when there is one of another size that is in use or sealed;
	// an unsealed, unused one is replaced. ErrSize also for a size that no
	// object can have (negative or over MaxObject).
	Create(d Digest, size int64) (Object, error)
	// Ingest begins an object of exactly size bytes whose name is not known
	// before they were all seen. ErrSize for a size that no object can have.
	Ingest(size int64) (Ingest, error)
	// Remove deletes an object: ErrInUse while handles are open or a pin names
	// it.
	Remove(d Digest) error
	// Pin keeps objects from eviction and removal under a name, across restarts,
	// until Unpin. It takes the place of what the name pinned before. The objects
	// need not be here yet. What is written of a pinned object's chunks before they
	// are put stays in its file. It is durable when it returns. ErrPin if [CheckPin]
	// refuses it, or if there are MaxPins others.
	Pin(name string, objects []Digest) error
	// Unpin forgets a pin; nil for a name that has none.
	Unpin(name string) error
	// Pins is a copy of all pins.
	Pins() map[string][]Digest
	// Objects lists what is there, in no order.
	Objects() []Info
	// Usage tells the store's own bytes; it costs no disk reads.
	Usage() Usage
	// Close waits for nothing: open handles fail with ErrClosed after it. What
	// was Put is made durable first.
	Close() error
}

// Object is a handle. Handles of one object share its state; each must be
// closed once. While one is open the object is not evicted. All methods are
// safe for concurrent use.
type Object interface {
	Digest() Digest
	Size() int64
	// WriteAt writes bytes of a chunk that is not present yet. They count for
	// nothing until Put, and are forgotten when the object's last handle is
	// closed. Writing into a present chunk is ErrPresent. It returns ErrFull
	// when there is no room.
	WriteAt(p []byte, off int64) (int, error)
	// Put records chunk i as present with its sums; its bytes were all given to
	// WriteAt and hashed to them. Putting a present chunk again does nothing.
	// It is an error if a block of the chunk was never written, and ErrCorrupt
	// if the object is sealed and its list has another digest for the chunk.
	// Blocks whose digest is that of zeros ([Sums.Zeros]) need not be written;
	// they read as zeros and take no room.
	Put(i int, sums Sums) error
	// Have is a copy of the map of present chunks.
	Have() *Bitmap
	// Sums are a present chunk's block digests; nil for an absent one.
	Sums(i int) Sums
	// ReadAt reads from the object's file. Bytes of chunks that are not present
	// are whatever was written so far, or zero; the caller asks Have first, or
	// knows what it wrote. It does not verify.
	ReadAt(p []byte, off int64) (int, error)
	// Drop forgets chunk i, present or partly written: its bytes proved wrong.
	Drop(i int) error
	// Seal records the list and its seal beside the object, durably. Every
	// present chunk that differs from the list is dropped. ErrList or ErrSeal
	// if they are not well-formed and this object's; whether the signer is
	// trusted is the caller's question, before.
	Seal(l *List, s Seal) error
	// Sealed gives back what Seal recorded; false if nothing was.
	Sealed() (*List, Seal, bool)
	// File opens the object's own file for reading, with an offset of its own,
	// for sendfile and passthrough; the caller closes it. Nil without an error
	// if the implementation has no files.
	File() (*os.File, error)
	// Sync returns when everything Put before is durable.
	Sync() error
	Close() error
}

// Ingest is an object that is being written, in order, by one goroutine. It
// becomes an object of the store only at Commit, and exactly one of Commit and
// Abort is to end it.
type Ingest interface {
	// Write takes the next bytes. ErrSize, and nothing taken, if they are more
	// than were promised; ErrFull when there is no room. After any other error
	// than ErrSize the ingest can only be aborted.
	Write(p []byte) (int, error)
	// Commit names the object and gives a handle to it: whole and unsealed, or
	// the store's own if it was there already; what that lacked, or had wrong,
	// comes from the ingest. ErrSize if bytes are missing. An ingest whose Commit
	// failed is forgotten.
	Commit() (Object, error)
	// Abort forgets it and gives its room back; nothing after Commit.
	Abort() error
}

// Info is what a store's listing says of one object.
type Info struct {
	Digest  Digest
	Size    int64     // in bytes, whole
	Present int       // chunks
	Sealed  bool      // a seal is recorded
	InUse   bool      // handles are open
	Used    time.Time // last Open
}

// Complete tells whether every chunk is present.
func (i Info) Complete() bool { return i.Present == Count(i.Size) }

// Usage is how full a store is, in bytes. Only the store's own are counted.
type Usage struct {
	Objects int
	Bytes   int64 // lengths of all blocks but those of zeros: of present chunks, and written of others
	Quota   int64 // 0 is none
	Free    int64 // of the file system; -1 if unknown
	Evicted int64 // bytes evicted since start
}
