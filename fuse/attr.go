//go:build linux

package fuse

import (
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/shoal-project/shoal/layer/erofs"
)

const (
	sector   = 512  // what st_blocks counts
	pageSize = 4096 // what st_blksize and statfs tell
)

// attr fills out from the tree. The inode's number is its node id, because
// numbers must differ between images, which share a device.
func (im *Image) attr(n *erofs.Inode, out *gofuse.Attr) error {
	node, err := im.node(n.Nid)
	if err != nil {
		return err
	}
	blocks, err := im.blocks(n)
	if err != nil {
		return err
	}
	*out = gofuse.Attr{
		Ino: node, Size: uint64(n.Size), Blocks: blocks, Blksize: pageSize,
		Mode: n.Mode, Nlink: n.Nlink, Owner: gofuse.Owner{Uid: n.UID, Gid: n.GID},
		Rdev:  uint32(n.Rdev), // the kernel's 32-bit form is the low half of makedev's
		Mtime: uint64(n.Sec), Mtimensec: n.Nsec,
		Ctime: uint64(n.Sec), Ctimensec: n.Nsec,
		Atime: uint64(n.Sec), Atimensec: n.Nsec,
	}
	return nil
}

func (im *Image) blocks(n *erofs.Inode) (uint64, error) {
	size := uint64(n.Size)
	if !n.IsRegular() {
		return (size + sector - 1) / sector, nil
	}
	for off := int64(0); off < n.Size; {
		e, err := im.extent(n, off)
		if err != nil {
			return 0, err
		}
		if e.Device == erofs.Hole {
			size -= uint64(e.Length)
		}
		off += e.Length
	}
	return (size + sector - 1) / sector, nil
}

// extent is the run at off, which is inside the file. Runs have a length, and a
// file has no more of them than an object has chunks, so loops over them end.
func (im *Image) extent(n *erofs.Inode, off int64) (erofs.Extent, error) {
	if device, ok := deviceOfNid(n.Nid); ok {
		return erofs.Extent{Device: device, Offset: off, Length: n.Size - off}, nil
	}
	e, err := im.tree.Extent(n, off)
	if err != nil {
		return e, err
	}
	if e.Length <= 0 || e.Length > n.Size-off || e.Device >= len(im.slots) || e.Device < erofs.Inline {
		return e, erofs.ErrCorrupt
	}
	return e, nil
}

// entry answers for a child: what the kernel may keep, and for how long.
func (im *Image) entry(nid uint64, out *gofuse.EntryOut) error {
	n, err := im.inode(nid)
	if err != nil {
		return err
	}
	if n.Size < 0 {
		return erofs.ErrCorrupt
	}
	if err := im.attr(&n, &out.Attr); err != nil {
		return err
	}
	out.NodeId = out.Ino
	out.Generation = im.generation
	out.SetEntryTimeout(im.fs.cfg.CacheFor)
	out.SetAttrTimeout(im.fs.cfg.CacheFor)
	return nil
}

// rootAttr is the attributes of the directory of images.
func (f *FS) rootAttr(out *gofuse.Attr) {
	changed := time.Unix(0, f.changed.Load())
	*out = gofuse.Attr{
		Ino: root, Mode: erofs.ModeDir | 0o755, Nlink: uint32(2 + len(*f.images.Load())), Blksize: pageSize,
		Mtime: uint64(changed.Unix()), Mtimensec: uint32(changed.Nanosecond()),
		Ctime: uint64(changed.Unix()), Ctimensec: uint32(changed.Nanosecond()),
		Atime: uint64(changed.Unix()), Atimensec: uint32(changed.Nanosecond()),
	}
}

// usage fills out for the image, or for all images at the root. All is used and
// nothing is free, but nothing is 0 either: there are tools that take a file
// system without blocks for broken.
func usage(out *gofuse.StatfsOut, images ...*Image) {
	var bytes, inodes uint64
	for _, im := range images {
		bytes += im.bytes
		inodes += im.tree.Inodes()
	}
	*out = gofuse.StatfsOut{
		Blocks: max(1, (bytes+pageSize-1)/pageSize), Files: max(1, inodes),
		Bsize: pageSize, Frsize: pageSize, NameLen: erofs.MaxName,
	}
}
