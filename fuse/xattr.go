//go:build linux

package fuse

import (
	"errors"
	"io/fs"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// GetXAttr copies an attribute's value, or tells its length if dest has no room.
func (r *requests) GetXAttr(_ <-chan struct{}, h *gofuse.InHeader, name string, dest []byte) (uint32, gofuse.Status) {
	if h.NodeId == root {
		return 0, gofuse.ENODATA
	}
	im, n, st := r.hold(h.NodeId)
	if st != gofuse.OK {
		return 0, st
	}
	defer im.release()
	value, err := im.tree.Xattr(&n, name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, gofuse.ENODATA
	}
	if err != nil {
		return 0, im.status(err)
	}
	if len(value) > len(dest) {
		return uint32(len(value)), gofuse.ERANGE
	}
	return uint32(copy(dest, value)), gofuse.OK
}

// ListXAttr gives the names, each ended by a zero byte, or their length if dest
// has no room.
func (r *requests) ListXAttr(_ <-chan struct{}, h *gofuse.InHeader, dest []byte) (uint32, gofuse.Status) {
	if h.NodeId == root {
		return 0, gofuse.OK
	}
	im, n, st := r.hold(h.NodeId)
	if st != gofuse.OK {
		return 0, st
	}
	defer im.release()
	size := 0
	err := im.tree.Xattrs(&n, func(name string, _ []byte) bool {
		if end := size + len(name) + 1; end <= len(dest) {
			dest[size+copy(dest[size:], name)] = 0
		}
		size += len(name) + 1
		return true
	})
	if err != nil {
		return 0, im.status(err)
	}
	if size > len(dest) {
		return uint32(size), gofuse.ERANGE
	}
	return uint32(size), gofuse.OK
}
