// Package erofs writes and reads image trees: EROFS images that hold a file
// tree's metadata, while the files' bytes lie in other objects, which the
// image's device table names.
//
// [Write] streams an image from a [Source]. The same Source gives the same
// bytes. It keeps 8 bytes an inode and one directory block in memory; anything
// that EROFS or this package's limits cannot hold is an error, never cut short.
//
// [Open] reads an image in place, usually a memory map: it checks the
// superblock and the device table's bounds and parses nothing else. Inodes are
// fixed records, found by number; directories are sorted blocks, searched by
// halves. [Image.Inode] and [Image.Lookup] do not allocate. The bytes may be
// hostile: a method then returns an error that wraps [ErrCorrupt], and does
// not panic, loop, or read outside. What it cannot see is a tree that is well
// formed and a lie (directories in a circle, say): for that, trees are signed.
//
// [Mount] has the kernel mount an image over complete objects.
//
// The package moves no content and knows nothing of layers. It reads only the
// part of EROFS that it writes: docs/FORMAT.md, "Image tree".
//
// An [Image] is immutable and safe for concurrent use, as long as its bytes
// stay mapped: what its methods return points into them.
package erofs
