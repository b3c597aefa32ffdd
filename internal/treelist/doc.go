// Package treelist lists a directory tree, entry by entry, with everything that a
// program can learn of a file through the file system, and tells two listings
// apart in plain lines. Tests use it to compare a mounted image with the same
// image unpacked by another program.
//
// A listing is complete: every name below the root, in byte order of the path,
// with type, mode, owner, size, modification time in nanoseconds, links, target,
// device number, extended attributes and the SHA-256 of the content. An entry
// that cannot be read is an error, not a gap. Directory sizes are not listed: they
// are the file system's own affair.
//
// [List] reads in this process. A process must never read a FUSE mount that it
// serves itself (it can block on its own answer), so [ListApart] runs this very
// program again as a child that calls [RunIfChild] first of all, and takes the
// listing from its output: a JSON object a line. Names there are quoted as by
// strconv, since they need not be UTF-8.
//
// The functions share nothing and may be called by many goroutines.
package treelist
