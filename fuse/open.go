//go:build linux

package fuse

import (
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/shoal-project/shoal/layer/erofs"
)

// Open says how a file will be read: by the kernel itself from the store's file,
// or by asking here, with pages kept from one open to the next.
func (r *requests) Open(cancel <-chan struct{}, in *gofuse.OpenIn, out *gofuse.OpenOut) gofuse.Status {
	if in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return readOnly
	}
	im, n, st := r.hold(in.NodeId)
	if st != gofuse.OK {
		return st
	}
	defer im.release()
	if !n.IsRegular() {
		return gofuse.EINVAL
	}
	im.opens.Add(1)
	out.Fh = r.fs.handles.give()
	out.OpenFlags = gofuse.FOPEN_KEEP_CACHE | gofuse.FOPEN_NOFLUSH
	if id, ok := r.passthrough(cancel, im, &n, in, out.Fh); ok {
		out.BackingID = id
		out.OpenFlags = gofuse.FOPEN_PASSTHROUGH | gofuse.FOPEN_NOFLUSH
		r.fs.metrics.Opens.WithLabelValues("passthrough").Inc()
		return gofuse.OK
	}
	r.fs.metrics.Opens.WithLabelValues("copy").Inc()
	return gofuse.OK
}

// Release ends an open file.
func (r *requests) Release(_ <-chan struct{}, in *gofuse.ReleaseIn) {
	r.fs.handles.forget(in.Fh)
	r.fs.backings.release(in.Fh, &r.fs.conn)
}

// passthrough is the backing id by which a file is opened, if it can be.
func (r *requests) passthrough(cancel <-chan struct{}, im *Image, n *erofs.Inode, in *gofuse.OpenIn, fh uint64) (int32, bool) {
	if !r.fs.cfg.Passthrough || n.Size < max(r.fs.cfg.PassthroughMin, 1) {
		return 0, false
	}
	s := im.whole(n)
	if s == nil {
		return 0, false
	}
	if s.opened() == nil {
		w := im.beginWait(cancel, in.Pid, s, 0, 0)
		w.until(s.open().done)
		w.end()
	}
	return r.fs.backings.take(in.NodeId, fh, s, r.fs)
}

// whole tells the object that has exactly the bytes of a file, hole or not, from
// offset 0; nil if there is none.
func (im *Image) whole(n *erofs.Inode) *slot {
	var s *slot
	for off := int64(0); off < n.Size; {
		e, err := im.extent(n, off)
		if err != nil || e.Device == erofs.Inline {
			return nil
		}
		if e.Device >= 0 {
			if s != nil && s != &im.slots[e.Device] || e.Offset != off {
				return nil
			}
			s = &im.slots[e.Device]
		}
		off += e.Length
	}
	if s == nil || s.device.Size != n.Size {
		return nil
	}
	return s
}
