package erofs

import (
	"fmt"
	"io"
	"io/fs"

	"github.com/shoal-project/shoal/chunk"
)

// Extent is the longest contiguous run of a regular file's bytes that begins at
// off; it ends with the file at the latest. At or past the file's end the error
// is [io.EOF]. What it names lies within the device. It does not allocate.
func (im *Image) Extent(n *Inode, off int64) (Extent, error) {
	switch {
	case off < 0 || !n.IsRegular():
		return Extent{}, fs.ErrInvalid
	case off >= n.Size:
		return Extent{}, io.EOF
	case n.place.inDevice:
		return im.flatExtent(n, off)
	case n.place.layout != layoutChunks:
		_, err := im.ReadInline(n)
		return Extent{Device: Inline, Offset: off, Length: n.Size - off}, err
	}
	bits := n.place.chunkBits
	k := off >> bits
	first, ok := im.chunkAt(n, k)
	if !ok {
		return Extent{}, corruptChunks(n)
	}
	end := (k + 1) << bits
	for ; end < n.Size; end += 1 << bits {
		k++
		next, ok := im.chunkAt(n, k)
		if !ok {
			return Extent{}, corruptChunks(n)
		}
		first.Length += 1 << bits
		if !first.continues(next) {
			break
		}
	}
	within := off & (1<<bits - 1)
	e := Extent{Device: first.Device, Length: min(end, n.Size) - off}
	if e.Device != Hole {
		e.Offset = first.Offset + within
		if !im.deviceHas(e) {
			return Extent{}, corruptChunks(n)
		}
	}
	return e, nil
}

// flatExtent is all of a file that lies in one piece in a device, its last bytes
// too: that the tree has them once more is for the kernel.
func (im *Image) flatExtent(n *Inode, off int64) (Extent, error) {
	// The last device that begins at or before the file: they are in order.
	low, high := 0, im.devices
	for low < high {
		mid := low + (high-low)/2
		if slot, ok := im.slot(mid); ok && int64(le.Uint32(slot[slotFlat:])) <= n.place.flat {
			low = mid + 1
		} else {
			high = mid
		}
	}
	slot, ok := im.slot(low - 1)
	if !ok {
		return Extent{}, corruptChunks(n)
	}
	begin := (n.place.flat - int64(le.Uint32(slot[slotFlat:]))) * BlockSize
	if !im.deviceHas(Extent{Device: low - 1, Offset: begin, Length: n.Size}) {
		return Extent{}, corruptChunks(n)
	}
	end, hole := im.run(n, off)
	if hole {
		return Extent{Device: Hole, Length: end - off}, nil
	}
	return Extent{Device: low - 1, Offset: begin + off, Length: end - off}, nil
}

// run tells whether off lies in a hole by the file's bitmap, and where that ends.
func (im *Image) run(n *Inode, off int64) (end int64, hole bool) {
	if n.place.holes == 0 {
		return n.Size, false
	}
	bitmap, _ := im.at(n.place.holes, holeBytes(n.Size))
	is := func(at int64) bool {
		k := at / chunk.Size
		return k/8 < int64(len(bitmap)) && bitmap[k/8]&(1<<(k%8)) != 0
	}
	hole = is(off)
	end = off - off%chunk.Size + chunk.Size
	for end < n.Size && is(end) == hole {
		end += chunk.Size
	}
	return min(end, n.Size), hole
}

// continues tells that next begins where e ends.
func (e Extent) continues(next Extent) bool {
	return e.Device == next.Device && (e.Device == Hole || e.Offset+e.Length == next.Offset)
}

// chunkAt is where chunk k of a file begins; its length is left out.
func (im *Image) chunkAt(n *Inode, k int64) (Extent, bool) {
	if k > chunk.MaxObject/BlockSize {
		return Extent{}, false
	}
	b, ok := im.at(n.place.data+k*indexSize, indexSize)
	if !ok {
		return Extent{}, false
	}
	block := le.Uint32(b[4:])
	if block == nullAddress {
		return Extent{Device: Hole}, true
	}
	device := int(le.Uint16(b[2:])) - 1
	if device < 0 || device >= im.devices {
		return Extent{}, false
	}
	return Extent{Device: device, Offset: int64(block) * BlockSize}, true
}

func (im *Image) deviceHas(e Extent) bool {
	slot, ok := im.slot(e.Device)
	if !ok {
		return false
	}
	size := le.Uint64(slot[slotExact:])
	return size <= chunk.MaxObject && e.Offset <= int64(size) && e.Length <= int64(size)-e.Offset
}

// ReadInline is a link's target, or the bytes of a file whose extents are
// [Inline]; it points into the image. It does not allocate.
func (im *Image) ReadInline(n *Inode) ([]byte, error) {
	if !n.IsSymlink() && !n.IsRegular() || n.place.layout == layoutChunks || n.place.inDevice {
		return nil, fs.ErrInvalid
	}
	b, ok := im.at(n.place.data, n.Size)
	if !ok {
		return nil, fmt.Errorf("%w: inode %d lies outside", ErrCorrupt, n.Nid)
	}
	return b, nil
}

func corruptChunks(n *Inode) error {
	return fmt.Errorf("%w: chunks of inode %d are malformed", ErrCorrupt, n.Nid)
}
