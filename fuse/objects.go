//go:build linux

package fuse

import (
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/shoal-project/shoal/layer/erofs"
)

// Beside the directory that shows an image, and listed nowhere, lies one of the
// image's objects: files for root, named by their numbers in the tree's device
// table. Their inodes are not the tree's, whose numbers end where these begin.
const (
	objectsSuffix = ".objects"
	objectsNid    = 1 << (nidBits - 1) // the directory; object i has the number i+1 further
)

// ObjectsDir is the directory of the objects of the image that [FS.Add] was given
// as name, in a file system that is mounted at dir.
func ObjectsDir(dir, name string) string { return filepath.Join(dir, name+objectsSuffix) }

func objectNid(device int) uint64 { return objectsNid + 1 + uint64(device) }

// deviceOfNid is the object that an inode is, if it is one.
func deviceOfNid(nid uint64) (device int, ok bool) {
	return int(nid - objectsNid - 1), nid > objectsNid
}

// inode is an inode of the image's tree, or of its objects.
func (im *Image) inode(nid uint64) (erofs.Inode, error) {
	if nid < objectsNid {
		return im.tree.Inode(nid)
	}
	device, ok := deviceOfNid(nid)
	switch {
	case !ok:
		return erofs.Inode{Nid: nid, Mode: erofs.ModeDir | 0o700, Nlink: 2}, nil
	case device >= len(im.slots):
		return erofs.Inode{}, erofs.ErrCorrupt
	}
	return erofs.Inode{Nid: nid, Mode: erofs.ModeRegular | 0o400, Nlink: 1, Size: im.slots[device].device.Size}, nil
}

// lookup finds a name in a directory.
func (im *Image) lookup(dir *erofs.Inode, name string) (nid uint64, err error) {
	if dir.Nid != objectsNid {
		nid, _, err = im.tree.Lookup(dir, name)
		if err == nil && nid >= objectsNid {
			err = erofs.ErrCorrupt
		}
		return nid, err
	}
	i, err := strconv.Atoi(name)
	if err != nil || strconv.Itoa(i) != name || i < 0 || i >= len(im.slots) {
		return 0, fs.ErrNotExist
	}
	return objectNid(i), nil
}

// list walks a directory from a cookie on until yield is false.
func (im *Image) list(dir *erofs.Inode, cookie uint64, yield func(erofs.Dirent) bool) error {
	if dir.Nid != objectsNid {
		return im.tree.ReadDir(dir, cookie, yield)
	}
	for i := cookie; i < uint64(len(im.slots)); i++ {
		name := strconv.AppendUint(nil, i, 10)
		if !yield(erofs.Dirent{Name: name, Nid: objectNid(int(i)), Type: erofs.ModeRegular >> 12, Next: i + 1}) {
			break
		}
	}
	return nil
}
