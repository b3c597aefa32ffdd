package erofs

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"github.com/shoal-project/shoal/chunk"
)

// Image is an image tree that is read in place.
type Image struct {
	b       []byte
	meta    int64 // begin of the metadata area
	table   int64 // begin of the device table
	inodes  uint64
	devices int
}

// Open reads the image b in place. It checks the superblock, that the device
// table lies within b, and the root's inode. b must not change while the image
// is in use.
func Open(b []byte) (*Image, error) {
	im := &Image{b: b}
	sb, ok := im.at(superAt, superSize)
	if !ok || le.Uint32(sb[sbMagic:]) != superMagic {
		return nil, fmt.Errorf("%w: no superblock", ErrCorrupt)
	}
	incompat := le.Uint32(sb[sbIncompat:])
	if incompat&^incompatAccepted != 0 || sb[sbBlockBits] != blockBits || sb[sbExtSlots] != 0 || sb[sbDirBits] != 0 {
		return nil, fmt.Errorf("%w: an EROFS image, but of another kind than image trees", ErrCorrupt)
	}
	if le.Uint16(sb[sbRoot:]) != rootNid {
		return nil, fmt.Errorf("%w: root is not inode %d", ErrCorrupt, rootNid)
	}
	im.inodes = le.Uint64(sb[sbInodes:])
	im.meta = int64(le.Uint32(sb[sbMeta:])) * BlockSize
	if incompat&incompatDevices != 0 {
		im.devices = int(le.Uint16(sb[sbDevices:]))
		im.table = int64(le.Uint16(sb[sbTable:])) * slotSize
	}
	if _, ok := im.at(im.table, int64(im.devices)*slotSize); !ok {
		return nil, fmt.Errorf("%w: device table is cut short", ErrCorrupt)
	}
	root, err := im.Inode(rootNid)
	if err != nil {
		return nil, err
	}
	if !root.IsDir() {
		return nil, fmt.Errorf("%w: root is not a directory", ErrCorrupt)
	}
	return im, nil
}

// at is n bytes at off, if the image has them.
func (im *Image) at(off, n int64) ([]byte, bool) {
	size := int64(len(im.b))
	if off < 0 || n < 0 || off > size || n > size-off {
		return nil, false
	}
	return im.b[off : off+n : off+n], true
}

// Root is the root directory's number.
func (im *Image) Root() uint64 { return rootNid }

// Inodes is how many inodes the image says it has.
func (im *Image) Inodes() uint64 { return im.inodes }

// Devices is how many objects the device table names.
func (im *Image) Devices() int { return im.devices }

// Device is object i of the device table.
func (im *Image) Device(i int) (Device, error) {
	slot, ok := im.slot(i)
	if !ok {
		return Device{}, fmt.Errorf("%w: no device %d of %d", ErrCorrupt, i, im.devices)
	}
	var d Device
	tag := slot[:hex.EncodedLen(len(d.Object))]
	size := le.Uint64(slot[slotExact:])
	_, err := hex.Decode(d.Object[:], tag)
	if err != nil || !bytes.Equal(tag, bytes.ToLower(tag)) {
		return Device{}, fmt.Errorf("%w: device %d names no object", ErrCorrupt, i)
	}
	if size > chunk.MaxObject || slot[slotShort] > 1 || alignUp(int64(size), BlockSize) != int64(le.Uint32(slot[slotBlocks:]))*BlockSize ||
		le.Uint32(slot[slotHigh:]) != 0 {
		return Device{}, fmt.Errorf("%w: device %d has no valid size", ErrCorrupt, i)
	}
	d.Size = int64(size)
	return d, nil
}

func (im *Image) slot(i int) ([]byte, bool) {
	if i < 0 || i >= im.devices {
		return nil, false
	}
	return im.at(im.table+int64(i)*slotSize, slotSize)
}
