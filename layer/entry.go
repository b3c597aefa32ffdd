package layer

import (
	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// Type says what an entry is.
type Type uint8

// The types of entries.
const (
	Regular  Type = 1
	Dir      Type = 2
	Symlink  Type = 3
	HardLink Type = 4
	Char     Type = 5
	Block    Type = 6
	Fifo     Type = 7
	// Whiteout removes what the layers below have at Path.
	Whiteout Type = 8
	// Opaque hides what the layers below have in the directory Path.
	Opaque Type = 9
)

// Entry is one entry of a layer, as its tar stream gave it. Of whiteouts and
// opaque marks only Path and Type mean anything. A hard link has the attributes
// of its own header.
//
// Strings and byte slices that [Map.Entry] gives lie in the map: they are
// read-only, and valid until the map is closed.
type Entry struct {
	// Path is cleaned and relative to the root; the root itself is "". It has no
	// component that is empty, "." or "..", none over 255 bytes, and no NUL. It
	// need not be UTF-8.
	Path string
	Type Type
	Mode uint32 // permissions, set-user-id, set-group-id and sticky: 07777
	UID  uint32
	GID  uint32
	Sec  int64 // modification time; negative before 1970
	Nsec uint32
	Rdev uint64 // of devices: the dev_t of makedev(3)
	// Target is a symbolic link's text as it stands (not empty, no NUL), or the
	// path of the entry that a hard link names, cleaned like Path and never "".
	Target string
	Size   int64 // of a regular file's bytes
	// Inline has the bytes of a regular file of 1 to [InlineFile] bytes; of a file
	// that is an object of its own, the bytes behind its last whole block of
	// [PackAlign], which the kernel cannot read from the object.
	Inline []byte
	// Object is where the bytes of any other regular file lie, as an index into
	// [Map.Objects]; -1 if there are none (not regular, empty, inline, or all zeros).
	Object int
	Offset int64        // in Object, a multiple of [PackAlign]
	File   chunk.Digest // the SHA-256 of the file's bytes if Object is not -1, else zero
	// Holes has a bit for each 4 MiB of a regular file, set if they are all zeros
	// and so need not be read. Nil if there are none.
	Holes  *chunk.Bitmap
	Xattrs []erofs.Xattr // by name
}

// Object is one content object that a map points into.
type Object struct {
	Digest chunk.Digest
	Size   int64
	Pack   bool // many small files, else one large one
}
