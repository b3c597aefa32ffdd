package erofs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/shoal-project/shoal/chunk"
)

// noBlocks marks an inode without blocks of its own.
const noBlocks = 1<<32 - 1

// errChanged says that a Source answered otherwise when asked again.
var errChanged = errors.New("the source changed while it was written")

// writer writes one image: superblock and device table, then the inodes with
// what lies behind them, then the blocks of large directories and long targets.
// Its first pass over the source places everything, its second writes the
// inodes, its third, over those that have any, the blocks.
type writer struct {
	source    Source
	devices   []Device
	blockBits uint
	blockSize int64

	nids   []uint32 // of each inode
	starts []uint32 // first block of each inode, counted from the first data block, or noBlocks

	metaAt, dataAt int64 // begin of inodes and of data blocks
	blocks         int64 // of the whole image

	flat  []uint32 // first block of each device in the address space of all
	short []bool   // of each device: the kernel must read its short last block

	out *bufio.Writer
	at  int64 // bytes written

	dir     dirBlocks
	last    []byte // the name before
	number  int    // of the inode at hand
	inode   Inode  // it
	content Content
	list    []Xattr
	xattrs  []byte // of the one at hand, encoded
	block   []byte // its directory's first block
	record  []byte
}

// Write streams the image of s to w and returns its size. It fails if s holds
// something that an image cannot (an [XattrError] for extended attributes), if s
// contradicts itself, or if s or w fails; the bytes written so far are then
// worth nothing.
func Write(w io.Writer, s Source) (size int64, err error) { return write(w, s, blockBits) }

// write takes the block size's logarithm, because fsck.erofs before 1.6, which
// the tests ask for its opinion, knows blocks of 4096 bytes alone.
func write(out io.Writer, s Source, blockBits uint) (int64, error) {
	w := &writer{source: s, devices: s.Devices(), short: make([]bool, len(s.Devices())), blockBits: blockBits, blockSize: 1 << blockBits,
		out: bufio.NewWriterSize(out, 256<<10)}
	if err := w.checkSource(); err != nil {
		return 0, fmt.Errorf("write image tree: %w", err)
	}
	for _, step := range []func() error{w.plan, w.writeHead, w.writeInodes, w.writeBlocks, w.out.Flush} {
		if err := step(); err != nil {
			return w.at, fmt.Errorf("write image tree: %w", err)
		}
	}
	return w.at, nil
}

func (w *writer) checkSource() error {
	if w.source.Len() < 1 {
		return errors.New("no root")
	}
	if len(w.devices) > MaxDevices {
		return fmt.Errorf("%d objects, an image names at most %d", len(w.devices), MaxDevices)
	}
	for i, d := range w.devices {
		if d.Size < 0 || d.Size > chunk.MaxObject {
			return fmt.Errorf("device %d has %d bytes", i, d.Size)
		}
	}
	return nil
}

// plan places every inode and every block.
func (w *writer) plan() error {
	n := w.source.Len()
	w.nids, w.starts = make([]uint32, n), make([]uint32, n)
	at, blocks := int64(firstNid*nidUnit), int64(0)
	for i := range n {
		s, err := w.load(i)
		if err != nil {
			return fmt.Errorf("inode %d: %w", i, err)
		}
		if i == 0 && !w.inode.IsDir() {
			return errors.New("the root is not a directory")
		}
		at = w.placeInode(at, &s)
		if at/nidUnit > maxSlot || blocks+s.blocks >= noBlocks {
			return fmt.Errorf("inode %d: the image is too large", i)
		}
		w.nids[i], w.starts[i] = uint32(at/nidUnit), noBlocks
		at += s.footprint()
		if s.blocks > 0 {
			w.starts[i] = uint32(blocks)
			blocks += s.blocks
		}
	}
	w.metaAt = alignUp(tableAt+int64(len(w.devices))*slotSize, w.blockSize)
	w.dataAt = w.metaAt + alignUp(at, w.blockSize)
	w.blocks = w.dataAt/w.blockSize + blocks
	return w.planDevices()
}

// planDevices gives every device a place in one address space, behind the image.
func (w *writer) planDevices() error {
	w.flat = make([]uint32, len(w.devices))
	next := w.blocks
	for i, d := range w.devices {
		w.flat[i] = uint32(next)
		next += alignUp(d.Size, w.blockSize) / w.blockSize
		if next >= nullAddress {
			break
		}
	}
	if next >= nullAddress {
		return errors.New("the image and its objects have more blocks than 32 bits can count")
	}
	return nil
}

// placeInode is where an inode goes at or after at: data behind it must not
// cross a block's end. They may begin the next block, but a link's, which the
// kernel reads along with the inode.
func (w *writer) placeInode(at int64, s *shape) int64 {
	at = alignUp(at, nidUnit)
	for s.tail > 0 {
		before := inodeSize + s.xattrs
		if s.together && at%w.blockSize+before+s.tail <= w.blockSize ||
			!s.together && (at+before)%w.blockSize+s.tail <= w.blockSize {
			break
		}
		at += nidUnit
	}
	return at
}

// load asks the source for inode i and decides its shape. A directory's first
// block is kept, for it may go behind the inode.
func (w *writer) load(i int) (shape, error) {
	if err := w.ask(i); err != nil {
		return shape{}, err
	}
	var err error
	// The source may use its buffers again when it is asked for the children.
	if w.xattrs, err = appendXattrs(w.xattrs[:0], w.list); err != nil {
		return shape{}, err
	}
	var entries int64
	if w.inode.IsDir() {
		w.block = w.block[:0]
		entries, err = w.directory(i, func(block []byte) error {
			if len(w.block) == 0 {
				w.block = append(w.block, block...)
			}
			return nil
		})
		if err != nil {
			return shape{}, err
		}
	}
	return w.shapeOf(&w.inode, &w.content, entries)
}

func (w *writer) ask(i int) error {
	w.number, w.inode, w.content, w.list = i, Inode{}, Content{}, w.list[:0]
	return w.source.Inode(i, &w.inode, &w.content, &w.list)
}

// writeBlocks writes the blocks of the inodes that have any.
func (w *writer) writeBlocks() error {
	if err := w.padTo(w.dataAt); err != nil {
		return err
	}
	for i, start := range w.starts {
		if start == noBlocks {
			continue
		}
		if w.at != w.dataAt+int64(start)*w.blockSize {
			return errChanged
		}
		if err := w.writeOwn(i); err != nil {
			return fmt.Errorf("inode %d: %w", i, err)
		}
		if err := w.padTo(alignUp(w.at, w.blockSize)); err != nil {
			return err
		}
	}
	return w.padTo(w.blocks * w.blockSize)
}

func (w *writer) writeOwn(i int) error {
	if err := w.ask(i); err != nil {
		return err
	}
	if w.inode.IsDir() {
		_, err := w.directory(i, w.put)
		return err
	}
	return w.put(w.content.Inline)
}

func (w *writer) put(b []byte) error {
	n, err := w.out.Write(b)
	w.at += int64(n)
	return err
}

// padTo writes zeros up to position at.
func (w *writer) padTo(at int64) error {
	if at < w.at {
		return errChanged
	}
	for w.at < at {
		w.record = slices.Grow(w.record[:0], 4096)[:min(4096, at-w.at)]
		clear(w.record)
		if err := w.put(w.record); err != nil {
			return err
		}
	}
	return nil
}
