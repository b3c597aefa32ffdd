package erofs

import (
	"encoding/hex"
	"fmt"
)

// volume is the name that tools show of an image.
const volume = "shoal image"

// writeHead writes the superblock and the device table. It has no checksum and
// no UUID: an image is verified by its digest, and named by it.
func (w *writer) writeHead() error {
	b := make([]byte, tableAt)
	sb := b[superAt:]
	le.PutUint32(sb[sbMagic:], superMagic)
	le.PutUint32(sb[sbCompat:], compatMtime)
	sb[sbBlockBits] = uint8(w.blockBits)
	le.PutUint16(sb[sbRoot:], rootNid)
	le.PutUint64(sb[sbInodes:], uint64(len(w.nids)))
	le.PutUint32(sb[sbBlocks:], uint32(w.blocks))
	le.PutUint32(sb[sbMeta:], uint32(w.metaAt/w.blockSize))
	copy(sb[sbVolume:], volume)
	if len(w.devices) > 0 {
		le.PutUint32(sb[sbIncompat:], incompatChunked|incompatDevices)
		le.PutUint16(sb[sbDevices:], uint16(len(w.devices)))
		le.PutUint16(sb[sbTable:], tableAt/slotSize)
	}
	if err := w.put(b); err != nil {
		return err
	}
	for i, d := range w.devices {
		slot := b[:slotSize]
		clear(slot)
		hex.Encode(slot, d.Object[:])
		le.PutUint32(slot[slotBlocks:], uint32(alignUp(d.Size, w.blockSize)/w.blockSize))
		le.PutUint32(slot[slotFlat:], w.flat[i])
		le.PutUint64(slot[slotExact:], uint64(d.Size))
		if w.short[i] {
			slot[slotShort] = 1
		}
		if err := w.put(slot); err != nil {
			return err
		}
	}
	return w.padTo(w.metaAt)
}

// writeInodes writes all inodes where plan placed them.
func (w *writer) writeInodes() error {
	if err := w.padTo(w.metaAt + firstNid*nidUnit); err != nil {
		return err
	}
	for i, nid := range w.nids {
		s, err := w.load(i)
		if err != nil {
			return fmt.Errorf("inode %d: %w", i, err)
		}
		at := w.metaAt + int64(nid)*nidUnit
		if w.metaAt+w.placeInode(w.at-w.metaAt, &s) != at || (s.blocks > 0) != (w.starts[i] != noBlocks) {
			return fmt.Errorf("inode %d: %w", i, errChanged)
		}
		if err := w.padTo(at); err != nil {
			return err
		}
		if err := w.put(w.appendInode(i, &s)); err != nil {
			return err
		}
	}
	return nil
}

// appendInode encodes the inode at hand with all that lies behind it.
func (w *writer) appendInode(i int, s *shape) []byte {
	n := &w.inode
	b := append(w.record[:0], make([]byte, inodeSize)...)
	le.PutUint16(b[inFormat:], formatExtended|s.layout<<1)
	le.PutUint16(b[inXattrs:], xattrCount(len(w.xattrs)))
	le.PutUint16(b[inMode:], uint16(n.Mode))
	le.PutUint64(b[inSize:], uint64(s.size))
	le.PutUint32(b[inUnion:], w.union(i, s))
	le.PutUint32(b[inIno:], uint32(i)+1)
	le.PutUint32(b[inUID:], n.UID)
	le.PutUint32(b[inGID:], n.GID)
	le.PutUint64(b[inMtime:], uint64(n.Sec))
	le.PutUint32(b[inNsec:], n.Nsec)
	le.PutUint32(b[inNlink:], n.Nlink)
	b = append(b, w.xattrs...)
	switch {
	case s.layout == layoutChunks:
		b = w.appendIndexes(b, s)
	case s.tail > 0 && n.IsDir():
		b = append(b, w.block...)
	case s.tail > 0:
		b = append(b, w.content.Inline[:s.tail]...)
	}
	if s.holes > 0 {
		b[inHoles] = 1
		b = append(b, w.content.Holes.Bytes()...)
	}
	w.record = b
	return b
}

func (w *writer) union(i int, s *shape) uint32 {
	switch {
	case s.layout == layoutChunks:
		return chunkIndexes | uint32(s.chunkBits-w.blockBits)
	case s.inDevice:
		return w.flat[w.content.Device] + uint32(w.content.Offset/w.blockSize)
	case s.blocks > 0:
		return uint32(w.dataAt/w.blockSize) + w.starts[i]
	}
	if t := w.inode.Mode & ModeType; t == ModeChar || t == ModeBlock {
		return uint32(w.inode.Rdev)
	}
	return 0
}

// appendIndexes appends where each chunk lies. Devices count from 1: 0 is the
// image itself.
func (w *writer) appendIndexes(b []byte, s *shape) []byte {
	c := &w.content
	for int64(len(b))%indexSize != 0 {
		b = append(b, 0)
	}
	for k := range s.indexes {
		if c.Holes != nil && c.Holes.Has(int(k)) {
			b = le.AppendUint32(b, 0)
			b = le.AppendUint32(b, nullAddress)
			continue
		}
		b = le.AppendUint16(b, 0)
		b = le.AppendUint16(b, uint16(c.Device+1))
		b = le.AppendUint32(b, uint32((c.Offset+k<<s.chunkBits)/w.blockSize))
	}
	return b
}
