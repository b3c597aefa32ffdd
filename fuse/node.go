//go:build linux

package fuse

import (
	"errors"
	"io/fs"
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/shoal-project/shoal/layer/erofs"
)

// A node id is the image's id and, in the low 40 bits, the inode's number in its
// tree. It depends on nothing that happened at run time, so the kernel may keep
// using it when another process serves the connection.
const (
	nidBits = 40
	// MaxImage is the largest id of an image; 0 is the file system's own.
	MaxImage = 1<<(64-nidBits) - 2
)

// root is the directory that lists the images. Image 0 does not exist, so the
// number is nobody else's.
const root = gofuse.FUSE_ROOT_ID

const stale = gofuse.Status(syscall.ESTALE)

func nodeOf(image uint32, nid uint64) uint64 { return uint64(image)<<nidBits | nid }

func splitNode(node uint64) (image uint32, nid uint64) {
	return uint32(node >> nidBits), node & (1<<nidBits - 1)
}

// node names an inode of this image to the kernel. Numbers that do not fit can
// only come from a corrupt tree.
func (im *Image) node(nid uint64) (uint64, error) {
	if nid >= 1<<nidBits {
		return 0, erofs.ErrCorrupt
	}
	return nodeOf(im.id, nid), nil
}

// hold finds a node. The image cannot be removed until it is released; on
// failure there is nothing to release.
func (r *requests) hold(node uint64) (*Image, erofs.Inode, gofuse.Status) {
	id, nid := splitNode(node)
	im := r.fs.await(id)
	if im == nil || !im.hold() {
		return nil, erofs.Inode{}, stale
	}
	n, err := im.inode(nid)
	if err == nil && n.Size < 0 {
		err = erofs.ErrCorrupt
	}
	if err != nil {
		im.release()
		return nil, erofs.Inode{}, im.status(err)
	}
	return im, n, gofuse.OK
}

// status is the answer for a failure of the image's tree.
func (im *Image) status(err error) gofuse.Status {
	switch {
	case err == nil:
		return gofuse.OK
	case errors.Is(err, fs.ErrNotExist):
		return gofuse.ENOENT
	}
	im.fail("tree", err)
	return gofuse.EIO
}
