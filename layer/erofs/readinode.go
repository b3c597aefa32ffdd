package erofs

import (
	"fmt"

	"github.com/shoal-project/shoal/chunk"
)

// place is where an inode's parts lie; what it says was checked against the
// bounds of its image.
type place struct {
	layout    uint8
	chunkBits uint8
	xattrs    int64 // position of the extended attributes
	xattrLen  int64
	data      int64 // position of the bytes, or of the chunk indexes
	inDevice  bool  // the bytes but the last part are in a device,
	flat      int64 // from this block on in the address space of all
	holes     int64 // position of the bitmap of its holes, 0 if none
}

// Inode reads inode nid. It does not allocate. It checks what the image says of
// the inode by itself, so that it is safe to hand on: a known type, a size that
// its data can have, and that all of it lies in the image.
func (im *Image) Inode(nid uint64) (Inode, error) {
	var n Inode
	if nid < firstNid || nid > uint64(len(im.b))/nidUnit {
		return n, fmt.Errorf("%w: no inode %d", ErrCorrupt, nid)
	}
	at := im.meta + int64(nid)*nidUnit
	r, ok := im.at(at, inodeSize)
	if !ok {
		return n, fmt.Errorf("%w: no inode %d", ErrCorrupt, nid)
	}
	n = Inode{
		Nid:   nid,
		Mode:  uint32(le.Uint16(r[inMode:])),
		UID:   le.Uint32(r[inUID:]),
		GID:   le.Uint32(r[inGID:]),
		Nlink: le.Uint32(r[inNlink:]),
		Size:  int64(le.Uint64(r[inSize:])),
		Sec:   int64(le.Uint64(r[inMtime:])),
		Nsec:  le.Uint32(r[inNsec:]),
	}
	n.place.xattrs = at + inodeSize
	n.place.xattrLen = xattrArea(le.Uint16(r[inXattrs:]))
	_, ok = im.at(n.place.xattrs, n.place.xattrLen)
	format := le.Uint16(r[inFormat:])
	n.place.layout = uint8(format >> 1)
	ok = ok && format&formatExtended != 0 && format < 1<<4 && n.Nsec < 1e9 && n.Size >= 0
	if !ok || !im.locate(&n, le.Uint32(r[inUnion:])) || n.place.inDevice && !im.locateHoles(&n, r[inHoles]) {
		return Inode{}, fmt.Errorf("%w: inode %d is malformed", ErrCorrupt, nid)
	}
	return n, nil
}

// locate finds where the inode's data lie, and tells whether they can.
func (im *Image) locate(n *Inode, union uint32) bool {
	switch n.Mode & ModeType {
	case ModeChar, ModeBlock:
		n.Rdev = uint64(union)
		return n.Size == 0 && n.place.layout == layoutPlain
	case ModeFifo, ModeSocket:
		return n.Size == 0 && n.place.layout == layoutPlain
	case ModeSymlink:
		return n.Size > 0 && n.Size <= MaxTarget && im.locateInTree(n, union)
	case ModeDir:
		return n.Size > 0 && im.locateInTree(n, union)
	case ModeRegular:
		if n.place.layout == layoutChunks {
			return im.locateChunks(n, union)
		}
		if n.place.layout == layoutInline && n.Size > BlockSize {
			return im.locateInDevice(n, union)
		}
		return n.Size <= MaxInline && im.locateInTree(n, union)
	}
	return false
}

func (im *Image) locateInTree(n *Inode, union uint32) bool {
	switch n.place.layout {
	case layoutPlain:
		n.place.data = int64(union) * BlockSize
	case layoutInline:
		n.place.data = n.place.xattrs + n.place.xattrLen
		if n.Size > BlockSize || n.place.data%BlockSize+n.Size > BlockSize {
			return false
		}
	default:
		return false
	}
	_, ok := im.at(n.place.data, n.Size)
	return ok
}

func (im *Image) locateInDevice(n *Inode, union uint32) bool {
	n.place.data = n.place.xattrs + n.place.xattrLen
	n.place.inDevice, n.place.flat = true, int64(union)
	tail := n.Size % BlockSize
	_, ok := im.at(n.place.data, tail)
	return ok && tail > 0 && n.Size <= chunk.MaxObject && n.place.data%BlockSize+tail <= BlockSize
}

func (im *Image) locateHoles(n *Inode, have byte) bool {
	if have == 0 {
		return true
	}
	n.place.holes = n.place.data + n.Size%BlockSize
	_, ok := im.at(n.place.holes, holeBytes(n.Size))
	return ok
}

// locateChunks takes one chunk, or chunks of chunk.Size: so no file has more
// indexes than an object can have chunks, and a walk over them is bounded.
func (im *Image) locateChunks(n *Inode, format uint32) bool {
	if format&^chunkBitsMask != chunkIndexes || n.Size == 0 || n.Size > chunk.MaxObject {
		return false
	}
	n.place.chunkBits = uint8(format&chunkBitsMask) + blockBits
	count := (n.Size-1)>>n.place.chunkBits + 1
	if count > 1 && n.place.chunkBits != holeChunkBits {
		return false
	}
	n.place.data = alignUp(n.place.xattrs+n.place.xattrLen, indexSize)
	_, ok := im.at(n.place.data, count*indexSize)
	return ok
}
