package erofs

import (
	"errors"

	"github.com/shoal-project/shoal/chunk"
)

// BlockSize is the image's block size, to which content in devices is aligned.
const BlockSize = 512

// What an image can hold.
const (
	// MaxName is the longest file name in bytes.
	MaxName = 255
	// MaxTarget is the longest symbolic link target in bytes.
	MaxTarget = 4095
	// MaxInline is the largest regular file that is kept in the tree.
	MaxInline = 64 << 10
	// MaxDevices is how many objects an image can name.
	MaxDevices = 65535
)

// ErrCorrupt says that an image's bytes are not those of an image tree, or not
// at the place that was asked for.
var ErrCorrupt = errors.New("corrupt image tree")

// The file type bits of [Inode.Mode], as in Linux's st_mode.
const (
	ModeType    = 0o170000
	ModeSocket  = 0o140000
	ModeSymlink = 0o120000
	ModeRegular = 0o100000
	ModeBlock   = 0o060000
	ModeDir     = 0o040000
	ModeChar    = 0o020000
	ModeFifo    = 0o010000
)

// Inode is one inode, as the writer takes it and the reader gives it.
type Inode struct {
	Mode     uint32 // Linux's st_mode: type and permission bits
	UID, GID uint32
	Nlink    uint32
	// Size of a regular file in bytes, or of a link's target. The writer ignores a
	// directory's; the reader gives the length of its blocks.
	Size int64
	Sec  int64  // modification time in seconds, negative before 1970
	Nsec uint32 // and nanoseconds, less than 1e9
	Rdev uint64 // of a device node: Linux's dev_t as makedev(3) gives it, 12 bits major, 20 bits minor

	Nid uint64 // the inode's number; the writer ignores it

	place place // where the reader finds the rest
}

// IsDir, IsRegular and IsSymlink tell the type.
func (n *Inode) IsDir() bool { return n.Mode&ModeType == ModeDir }

// IsRegular tells a regular file.
func (n *Inode) IsRegular() bool { return n.Mode&ModeType == ModeRegular }

// IsSymlink tells a symbolic link.
func (n *Inode) IsSymlink() bool { return n.Mode&ModeType == ModeSymlink }

// Content says where the bytes of a regular file or a link's target are. The
// zero value is right for everything else and for an empty file.
type Content struct {
	// Inline has the target of a symbolic link, or all bytes of a small file that
	// is kept in the tree: its length is then the inode's Size.
	//
	// A file in a device that ends within the device's last block, where that is a
	// short one, has its last Size%[BlockSize] bytes here besides: for the kernel
	// does not read short blocks. Without them the image is good for everything
	// but [Mount]. For other files in devices they are ignored.
	Inline []byte
	// Device is an index into [Source.Devices], if Inline has not the whole file and
	// it is not all holes.
	Device int
	// Offset of the file's first byte in the device, a multiple of [BlockSize].
	Offset int64
	// Holes has a bit for each of the file's chunks of [chunk.Size] bytes: set, if
	// it is all zeros. Nil is none. The kernel shows them as holes, unless the file
	// has its last bytes in Inline and its last chunk is no hole.
	Holes *chunk.Bitmap
}

// Xattr is an extended attribute.
type Xattr struct {
	Name  string // in full, "security.capability"
	Value []byte
}

// Device is an object that holds content.
type Device struct {
	Object chunk.Digest
	Size   int64 // in bytes, at most [chunk.MaxObject]
}

// Source is the tree that [Write] writes. Inodes are numbered from 0, the root;
// an inode that is near another in this order is near it in the image. Each is
// asked for up to three times, and must be the same every time.
type Source interface {
	// Len is the number of inodes.
	Len() int
	// Inode describes inode i. What the pointers show is zeroed before (x keeps its
	// capacity), and not kept after the next call of any method, so that slices
	// may point into buffers that are used again.
	Inode(i int, n *Inode, c *Content, x *[]Xattr) error
	// Children gives the entries of directory i in byte order of name, without
	// "." and "..", with each one's inode and that inode's mode. It stops when
	// yield is false; that is no error.
	Children(i int, yield func(name string, inode int, mode uint32) bool) error
	// Parent is the inode of the directory that directory i lies in; the root's is
	// the root.
	Parent(i int) int
	// Devices are the objects with the content of the tree's files. To find a file
	// with its last bytes in [Content.Inline], the kernel walks the table from its
	// begin, for every read that misses its cache, at 0.15 µs a device: so objects
	// of one large file come before packs.
	Devices() []Device
}

// Dirent is an entry of a directory.
type Dirent struct {
	Name []byte // points into the image
	Nid  uint64
	Type uint8  // DT_DIR and so on, 0 if unknown
	Next uint64 // cookie for [Image.ReadDir] to go on after this entry
}

// What [Extent.Device] is, if not an index of the device table.
const (
	// Hole is a run of zeros.
	Hole = -1
	// Inline is a run in the tree: [Image.ReadInline] has it.
	Inline = -2
)

// Extent is a contiguous run of a file's bytes.
type Extent struct {
	Device int   // index of the device table, [Hole] or [Inline]
	Offset int64 // in the device, or in what [Image.ReadInline] gives
	Length int64 // within the file's size
}
