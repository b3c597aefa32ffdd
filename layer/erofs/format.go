package erofs

import "encoding/binary"

// The parts of the EROFS format that image trees use. Integers are little
// endian. Offsets and sizes are in bytes unless said.
const (
	superAt     = 1024
	superSize   = 128
	superMagic  = 0xe0f5e1e2
	tableAt     = superAt + superSize // the device table follows the superblock
	slotSize    = 128                 // of a device
	slotBlocks  = 64                  // in a slot: 4 bytes, blocks of the device
	slotFlat    = 68                  // in a slot: 4 bytes, first block in the address space of all devices
	slotHigh    = 72                  // in a slot: 4 bytes, high bits of the two before, zero
	slotShort   = 119                 // in a slot, reserved by EROFS: 1 if the kernel must read its short last block
	slotExact   = 120                 // in a slot, reserved by EROFS: 8 bytes, the exact size
	nidUnit     = 32                  // inode nid is at nid*nidUnit in the metadata area
	inodeSize   = 64                  // of the extended form
	direntSize  = 12
	indexSize   = 8
	blockBits   = 9
	firstNid    = 2 // 0 is no inode number to readdir, 1 is the root of a FUSE mount
	rootNid     = firstNid
	maxSlot     = 1<<32 - 1 // the writer keeps inode numbers in 32 bits
	nullAddress = 1<<32 - 1
)

const (
	compatMtime      = 0x2
	incompatChunked  = 0x4
	incompatDevices  = 0x8
	incompatAccepted = incompatChunked | incompatDevices
)

// Where an inode's data are, as i_format has it.
const (
	layoutPlain  = 0 // in blocks of the image, contiguous
	layoutInline = 2 // behind the inode and its extended attributes, in one block: all, or the last part
	layoutChunks = 4 // in devices
)

const (
	formatExtended = 1         // bit 0 of i_format; the layout is in bits 1 to 3
	chunkBitsMask  = 0x1f      // of a chunk format: block bits of a chunk
	chunkIndexes   = 0x20      // of a chunk format: with 8-byte indexes
	holeChunkBits  = 22        // chunks of a file with holes: chunk.Size
	xattrHeader    = 12        // before the extended attributes of an inode
	maxXattrArea   = 256 << 10 // what the 16-bit count can say, in a multiple of 32
)

// A superblock, by field. The rest is zero.
const (
	sbMagic     = 0
	sbCompat    = 8
	sbBlockBits = 12
	sbExtSlots  = 13
	sbRoot      = 14
	sbInodes    = 16
	sbBlocks    = 36
	sbMeta      = 40
	sbVolume    = 64
	sbIncompat  = 80
	sbDevices   = 86
	sbTable     = 88
	sbDirBits   = 90
)

// An extended inode, by field. The rest is zero.
const (
	inFormat = 0
	inXattrs = 2
	inMode   = 4
	inSize   = 8
	inUnion  = 16 // first block, chunk format, or device number
	inIno    = 20
	inUID    = 24
	inGID    = 28
	inMtime  = 32
	inNsec   = 40
	inNlink  = 44
	inHoles  = 48 // reserved by EROFS: 1 if a bitmap of holes follows the tail
)

var le = binary.LittleEndian

func alignUp(n, to int64) int64 { return (n + to - 1) / to * to }

// fitsDev tells that a dev_t, as makedev(3) gives it, has at most 12 bits of
// major and 20 of minor number. The kernel's new_encode_dev, which EROFS stores,
// then has the same bits.
func fitsDev(dev uint64) bool { return dev>>32 == 0 }

// The types of directory entries: EROFS's (FT_*) by st_mode's type bits shifted
// right by 12, and Linux's DT_*, which are those bits themselves.
func entryType(mode uint32) (uint8, bool) {
	switch mode & ModeType {
	case ModeRegular:
		return 1, true
	case ModeDir:
		return 2, true
	case ModeChar:
		return 3, true
	case ModeBlock:
		return 4, true
	case ModeFifo:
		return 5, true
	case ModeSocket:
		return 6, true
	case ModeSymlink:
		return 7, true
	}
	return 0, false
}

// direntType is the DT_* of an EROFS entry type, 0 if unknown.
func direntType(ft uint8) uint8 {
	const dt = "\x00\x08\x04\x02\x06\x01\x0c\x0a"
	if int(ft) < len(dt) {
		return dt[ft]
	}
	return 0
}
