//go:build linux

// Package content gives the lazy file system the bytes of images' objects: it
// reads them in place from the files of the peer's store, and has the peer bring
// what is missing.
//
// It guarantees that a range is called present only if the peer said that its
// blocks are here and verified, or if they were hashed here against the sealed
// list or the object's own digest; that a read that waits goes before reading
// ahead, and that before the background fill; and that while the peer is away all
// that is on the disk is served.
//
// It writes nothing. It trusts the store's files to stay what they are while
// their objects are pinned (docs/FORMAT.md); a file that was replaced all the
// same is noticed, and its readers fail.
//
// A [Table] and all that comes from it are safe for concurrent use. The table's
// lock may be held when an object's is taken, never the other way round.
package content
