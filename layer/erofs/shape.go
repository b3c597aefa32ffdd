package erofs

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"

	"github.com/shoal-project/shoal/chunk"
)

// shape is how one inode lies in the image.
type shape struct {
	layout    uint16
	size      int64 // i_size
	xattrs    int64 // bytes of extended attributes behind the inode
	tail      int64 // bytes of data behind those
	together  bool  // the tail must be in the inode's block
	inDevice  bool  // what comes before the tail is in a device
	holes     int64 // bytes of the bitmap of holes behind the tail
	blocks    int64 // blocks of its own
	chunkBits uint  // log2 of its chunks' size
	indexes   int64 // chunks
}

// footprint is how many bytes the inode takes where it lies, padding before the
// indexes included: inodes lie at multiples of 32.
func (s *shape) footprint() int64 {
	n := inodeSize + s.xattrs
	if s.indexes > 0 {
		n = alignUp(n, indexSize) + s.indexes*indexSize
	}
	return n + s.tail + s.holes
}

// shapeOf decides how the inode lies whose extended attributes are encoded in
// w.xattrs, given the bytes of its entries if it is a directory.
func (w *writer) shapeOf(n *Inode, c *Content, entries int64) (shape, error) {
	if err := checkAttributes(n); err != nil {
		return shape{}, err
	}
	s := shape{layout: layoutPlain, xattrs: int64(len(w.xattrs))}
	switch {
	case n.IsDir():
		w.holdInTree(&s, entries)
		return s, nil
	case n.IsSymlink():
		if err := checkTarget(n, c.Inline); err != nil {
			return s, err
		}
		s.together = true
		w.holdInTree(&s, n.Size)
		return s, nil
	case !n.IsRegular() || n.Size == 0:
		return s, nil
	case n.Size == int64(len(c.Inline)):
		if n.Size > MaxInline {
			return s, fmt.Errorf("a file of %d bytes in the tree", n.Size)
		}
		w.holdInTree(&s, n.Size)
		return s, nil
	}
	if c.Holes != nil && c.Holes.Full() && c.Holes.Len() == chunk.Count(n.Size) {
		// All zeros: in no device.
		s.layout, s.size, s.chunkBits, s.indexes = layoutChunks, n.Size, holeChunkBits, int64(c.Holes.Len())
		return s, nil
	}
	if err := w.checkContent(n, c); err != nil {
		return s, err
	}
	w.holdInDevice(&s, n.Size, c)
	return s, nil
}

// holdInTree puts size bytes behind the inode if they fit one block, else into
// blocks of their own. Bytes never lie partly here and partly there, so that a
// reader finds them in one piece.
func (w *writer) holdInTree(s *shape, size int64) {
	s.size = size
	switch {
	case w.number == 0 && firstNid*nidUnit+inodeSize+s.xattrs+size > w.blockSize:
		// The root's place is fixed: it cannot make way for its data.
		s.blocks = alignUp(size, w.blockSize) / w.blockSize
	case s.together && inodeSize+s.xattrs+size <= w.blockSize:
		s.layout, s.tail = layoutInline, size
	case !s.together && size <= w.blockSize:
		w.holdTail(s, size)
	default:
		s.blocks = alignUp(size, w.blockSize) / w.blockSize
	}
}

// holdTail puts size bytes, at most a block, behind the inode. Inodes lie at
// multiples of 32; so that the bytes can begin a block, the extended attributes
// before them are filled up with empty entries, which nobody reads.
func (w *writer) holdTail(s *shape, size int64) {
	s.layout, s.tail = layoutInline, size
	if s.xattrs%nidUnit+size <= w.blockSize {
		return
	}
	for len(w.xattrs)%nidUnit != 0 {
		w.xattrs = append(w.xattrs, 0)
	}
	s.xattrs = int64(len(w.xattrs))
}

func (w *writer) holdInDevice(s *shape, size int64, c *Content) {
	s.layout, s.size = layoutChunks, size
	holes := c.Holes != nil && c.Holes.Count() > 0
	ends := w.endsShort(size, c) && (!holes || !c.Holes.Has(c.Holes.Len()-1))
	if ends && int64(len(c.Inline)) == size%w.blockSize {
		s.inDevice = true
		w.holdTail(s, size%w.blockSize)
		if holes {
			s.holes = holeBytes(size)
		}
		return
	}
	if ends {
		w.short[c.Device] = true
	}
	if holes {
		s.chunkBits, s.indexes = holeChunkBits, int64(chunk.Count(size))
		return
	}
	s.chunkBits = max(uint(bits.Len64(uint64(size-1))), w.blockBits)
	s.indexes = 1
}

// holeBytes is the length of the bitmap of a file's holes.
func holeBytes(size int64) int64 { return (int64(chunk.Count(size)) + 7) / 8 }

// endsShort tells that a file ends within the short last block of its device.
func (w *writer) endsShort(size int64, c *Content) bool {
	return alignUp(c.Offset+size, w.blockSize) > w.devices[c.Device].Size
}

func checkAttributes(n *Inode) error {
	if _, ok := entryType(n.Mode); !ok || n.Mode > 0xffff {
		return fmt.Errorf("mode %#o is no file's", n.Mode)
	}
	if n.Nsec >= 1e9 {
		return fmt.Errorf("%d nanoseconds", n.Nsec)
	}
	if n.Size < 0 || n.Size > chunk.MaxObject {
		return fmt.Errorf("size %d", n.Size)
	}
	if t := n.Mode & ModeType; t == ModeChar || t == ModeBlock {
		if !fitsDev(n.Rdev) {
			return fmt.Errorf("device number %#x is too large", n.Rdev)
		}
	}
	return nil
}

func checkTarget(n *Inode, target []byte) error {
	if n.Size != int64(len(target)) || len(target) == 0 || len(target) > MaxTarget {
		return fmt.Errorf("link of size %d with a target of %d bytes", n.Size, len(target))
	}
	if bytes.IndexByte(target, 0) >= 0 {
		return errors.New("link target has a zero byte")
	}
	return nil
}

func (w *writer) checkContent(n *Inode, c *Content) error {
	if c.Device < 0 || c.Device >= len(w.devices) {
		return fmt.Errorf("device %d of %d", c.Device, len(w.devices))
	}
	room := w.devices[c.Device].Size - n.Size
	if c.Offset < 0 || c.Offset%w.blockSize != 0 || c.Offset > room {
		return fmt.Errorf("%d bytes at %d of a device of %d", n.Size, c.Offset, w.devices[c.Device].Size)
	}
	if c.Holes != nil && c.Holes.Len() != chunk.Count(n.Size) {
		return fmt.Errorf("%d hole bits for %d bytes", c.Holes.Len(), n.Size)
	}
	return nil
}
