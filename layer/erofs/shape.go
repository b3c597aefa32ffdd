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
	return n + s.tail
}

// shapeOf decides how an inode lies, given the bytes of its extended attributes,
// and of its entries if it is a directory.
func (w *writer) shapeOf(n *Inode, c *Content, xattrs, entries int64) (shape, error) {
	if err := checkAttributes(n); err != nil {
		return shape{}, err
	}
	s := shape{layout: layoutPlain, xattrs: xattrs}
	switch {
	case n.IsDir():
		w.holdInTree(&s, entries)
		return s, nil
	case n.IsSymlink():
		if err := checkTarget(n, c.Inline); err != nil {
			return s, err
		}
		w.holdInTree(&s, n.Size)
		return s, nil
	case !n.IsRegular() || n.Size == 0:
		return s, nil
	case len(c.Inline) > 0:
		if n.Size != int64(len(c.Inline)) || n.Size > MaxInline {
			return s, fmt.Errorf("%d bytes in the tree of a file of %d", len(c.Inline), n.Size)
		}
		w.holdInTree(&s, n.Size)
		return s, nil
	}
	if err := w.checkContent(n, c); err != nil {
		return s, err
	}
	w.holdInDevice(&s, n.Size, c)
	return s, nil
}

// holdInTree puts size bytes behind the inode if they fit one block with it, else
// into blocks of their own. Bytes never lie partly here and partly there, so that
// a reader finds them in one piece.
func (w *writer) holdInTree(s *shape, size int64) {
	s.size = size
	if inodeSize+s.xattrs+size <= w.blockSize {
		s.layout, s.tail = layoutInline, size
		return
	}
	s.blocks = alignUp(size, w.blockSize) / w.blockSize
}

func (w *writer) holdInDevice(s *shape, size int64, c *Content) {
	s.layout, s.size = layoutChunks, size
	if c.Holes != nil && c.Holes.Count() > 0 {
		s.chunkBits, s.indexes = holeChunkBits, int64(chunk.Count(size))
		return
	}
	s.chunkBits = max(uint(bits.Len64(uint64(size-1))), w.blockBits)
	s.indexes = 1
}

func checkAttributes(n *Inode) error {
	if _, ok := entryType(n.Mode); !ok || n.Mode > 0xffff {
		return fmt.Errorf("mode %#o is no file's", n.Mode)
	}
	if n.Nsec >= 1e9 {
		return fmt.Errorf("%d nanoseconds", n.Nsec)
	}
	if n.Size < 0 {
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
