package layer

import (
	"errors"

	"github.com/shoal-project/shoal/chunk"
)

// How content is laid out. Changing one changes the objects that a layer gives.
const (
	// LargeFile is the length in bytes from which a file is an object of its own.
	LargeFile = 1 << 20
	// InlineFile is the length in bytes up to which a file is kept in the map.
	InlineFile = 256
	// PackAlign is what the offset of a file in a pack is a multiple of.
	PackAlign = 512
	// PackMin is the length in bytes from which a pack may end after any file.
	PackMin = 1 << 20
	// PackMax is the length that no pack exceeds: one chunk.
	PackMax = chunk.Size
)

// The errors of a layer that cannot be mapped. An image with such a layer can
// still be pulled in the ordinary way.
var (
	// ErrDiffID: the plain bytes are not those of the layer's diffID.
	ErrDiffID = errors.New("the layer does not match its diffID")
	// ErrLimit: the layer has more of something than the limits allow.
	ErrLimit = errors.New("the layer exceeds a limit")
	// ErrHostile: an entry would leave the root, or cannot exist in a file system.
	ErrHostile = errors.New("the layer has an entry that is refused")
	// ErrMalformed: the blob is not a tar stream in a known compression.
	ErrMalformed = errors.New("the layer is malformed")
)

// Limits bound what one layer may be. Zero means no limit of this package's
// choosing; those of the map's format remain (65,535 bytes of a name or target).
type Limits struct {
	// Plain bounds the plain bytes in the tar stream, and also the bytes of all
	// files together (which are more, if files are sparse in the stream).
	Plain int64
	// Entries bounds the entries. Building takes some 60 bytes of memory for each.
	Entries int64
	// Name bounds an entry's cleaned path in bytes. A component has 255 at most.
	Name int
	// Target bounds a link's target in bytes.
	Target int
	// Xattrs bounds the names and values of an entry's extended attributes, in
	// bytes together.
	Xattrs int
	// Ratio bounds how many bytes a byte of the blob may become, zeros left out.
	// The first 64 MiB are free, so that small layers may compress well.
	Ratio int
	// Window bounds the memory in bytes that a zstd frame may ask for.
	Window int64
}

// DefaultLimits are meant to pass every layer that is not an attack.
func DefaultLimits() Limits {
	return Limits{
		Plain:   128 << 30,
		Entries: 1 << 20,
		Name:    4095,
		Target:  4095,
		Xattrs:  128 << 10,
		Ratio:   500,
		Window:  8 << 20, // that of zstd -19, and of every level of common image builders
	}
}
