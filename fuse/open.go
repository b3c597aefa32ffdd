//go:build linux

package fuse

import (
	"syscall"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"

	"github.com/shoal-project/shoal/chunk"
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
	if _, ok := deviceOfNid(n.Nid); ok {
		r.openObject(&n, out)
		return gofuse.OK
	}
	o, st := r.way(cancel, im, &n, in)
	if st != gofuse.OK {
		return st
	}
	if out.Fh = o.fh; o.id > 0 {
		out.BackingID = o.id
		out.OpenFlags = gofuse.FOPEN_PASSTHROUGH | gofuse.FOPEN_NOFLUSH
		r.fs.metrics.Opens.WithLabelValues("passthrough").Inc()
		return gofuse.OK
	}
	out.OpenFlags = gofuse.FOPEN_KEEP_CACHE | gofuse.FOPEN_NOFLUSH
	r.fs.metrics.Opens.WithLabelValues("copy").Inc()
	return gofuse.OK
}

// openObject opens an object for the kernel's own file system above it, which keeps
// the pages of files. A pack's are kept here, too: what is read of it brings the
// small files beside it along. Nothing is asked of anybody, so that a mount of
// hundreds of objects waits for nobody.
func (r *requests) openObject(n *erofs.Inode, out *gofuse.OpenOut) {
	out.Fh = r.fs.handles.give()
	out.OpenFlags = gofuse.FOPEN_KEEP_CACHE | gofuse.FOPEN_NOFLUSH
	if n.Size > chunk.Size {
		out.OpenFlags = gofuse.FOPEN_DIRECT_IO | gofuse.FOPEN_NOFLUSH
	}
	r.fs.metrics.Opens.WithLabelValues("object").Inc()
}

// Release ends an open file.
func (r *requests) Release(_ <-chan struct{}, in *gofuse.ReleaseIn) {
	r.fs.handles.forget(in.Fh)
	r.fs.backings.release(in.Fh, r.fs.conn.unregister)
}

// way decides how a file is read.
func (r *requests) way(cancel <-chan struct{}, im *Image, n *erofs.Inode, in *gofuse.OpenIn) (opened, gofuse.Status) {
	if !r.fs.cfg.Passthrough || n.Size < max(r.fs.cfg.PassthroughMin, 1) {
		return opened{fh: r.fs.handles.give()}, gofuse.OK
	}
	s := im.whole(n)
	if s == nil {
		return opened{fh: r.fs.handles.give()}, gofuse.OK
	}
	f := file{in.NodeId, im.generation}
	if s.opened() == nil && !r.fs.backings.known(f) {
		w := im.beginWait(cancel, in.Pid, s, 0, 0)
		w.until(s.open().done)
		w.end()
	}
	return r.fs.backings.take(f, in.Unique, func() int32 { return r.fs.back(s) })
}

// back gives the kernel the object's file to read from, if it can be had whole.
func (f *FS) back(s *slot) int32 {
	if !s.backable() {
		return 0
	}
	id := f.conn.register(s.opened().File())
	if id == 0 {
		f.metrics.Refused.Inc()
	}
	return id
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
