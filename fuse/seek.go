//go:build linux

package fuse

import (
	"math"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/layer/erofs"
)

// Lseek finds data and holes; the kernel does all other seeking itself. The end
// of the file counts as a hole, as everywhere.
func (r *requests) Lseek(_ <-chan struct{}, in *gofuse.LseekIn, out *gofuse.LseekOut) gofuse.Status {
	if in.Whence != unix.SEEK_DATA && in.Whence != unix.SEEK_HOLE {
		return gofuse.EINVAL
	}
	im, n, st := r.hold(in.NodeId)
	if st != gofuse.OK {
		return st
	}
	defer im.release()
	if !n.IsRegular() {
		return gofuse.EINVAL
	}
	if in.Offset > math.MaxInt64 || int64(in.Offset) >= n.Size {
		return gofuse.Status(unix.ENXIO)
	}
	off, err := im.seek(&n, int64(in.Offset), in.Whence == unix.SEEK_HOLE)
	if err != nil {
		return im.status(err)
	}
	if off == n.Size && in.Whence == unix.SEEK_DATA {
		return gofuse.Status(unix.ENXIO)
	}
	out.Offset = uint64(off)
	return gofuse.OK
}

// seek is the first offset from off on that is in a hole, or not in one; the
// file's size if there is none.
func (im *Image) seek(n *erofs.Inode, off int64, hole bool) (int64, error) {
	for off < n.Size {
		e, err := im.extent(n, off)
		if err != nil {
			return 0, err
		}
		if (e.Device == erofs.Hole) == hole {
			return off, nil
		}
		off += e.Length
	}
	return n.Size, nil
}
