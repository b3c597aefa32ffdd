//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"io"
	"math"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/layer/erofs"
)

// maxTries bounds how often a read starts again because bytes that were here
// are not any more.
const maxTries = 16

// byteCounters are the children of [Metrics.Bytes].
type byteCounters struct{ object, tree, hole prometheus.Counter }

func newByteCounters(m *Metrics) byteCounters {
	return byteCounters{
		object: m.Bytes.WithLabelValues("object"),
		tree:   m.Bytes.WithLabelValues("tree"),
		hole:   m.Bytes.WithLabelValues("hole"),
	}
}

// Read copies from the store's file into the answer's buffer. Splicing would save
// a tenth of the CPU time, and send pages after the last look at whether they
// are right.
func (r *requests) Read(cancel <-chan struct{}, in *gofuse.ReadIn, buf []byte) (gofuse.ReadResult, gofuse.Status) {
	im, n, st := r.hold(in.NodeId)
	if st != gofuse.OK {
		return nil, st
	}
	defer im.release()
	if !n.IsRegular() {
		return nil, gofuse.EINVAL
	}
	buf = buf[:min(len(buf), int(in.Size))]
	if in.Offset > math.MaxInt64 || int64(in.Offset) >= n.Size {
		return gofuse.ReadResultData(nil), gofuse.OK
	}
	buf = buf[:min(int64(len(buf)), n.Size-int64(in.Offset))]
	c := call{requests: r, im: im, fh: in.Fh, pid: in.Pid, cancel: cancel}
	if st := c.read(&n, buf, int64(in.Offset)); st != gofuse.OK {
		return nil, st
	}
	im.reads.Add(1)
	im.served.Add(int64(len(buf)))
	r.fs.metrics.Reads.Inc()
	return gofuse.ReadResultData(buf), gofuse.OK
}

// call is one request for bytes.
type call struct {
	*requests
	im     *Image
	fh     uint64
	pid    uint32
	cancel <-chan struct{}
}

// read fills p from off on, all of it or nothing.
func (c *call) read(n *erofs.Inode, p []byte, off int64) gofuse.Status {
	for len(p) > 0 {
		e, err := c.im.extent(n, off)
		if err != nil {
			return c.im.status(err)
		}
		run := p[:min(int64(len(p)), e.Length)]
		if st := c.extent(n, run, e); st != gofuse.OK {
			return st
		}
		p, off = p[len(run):], off+int64(len(run))
	}
	return gofuse.OK
}

func (c *call) extent(n *erofs.Inode, p []byte, e erofs.Extent) gofuse.Status {
	switch e.Device {
	case erofs.Hole:
		clear(p)
		c.fs.bytes.hole.Add(float64(len(p)))
		return gofuse.OK
	case erofs.Inline:
		return c.inline(n, p, e.Offset)
	}
	s := &c.im.slots[e.Device]
	if e.Offset < 0 || e.Offset > s.device.Size-int64(len(p)) {
		return c.im.status(erofs.ErrCorrupt)
	}
	return c.object(s, p, e.Offset)
}

func (c *call) inline(n *erofs.Inode, p []byte, off int64) gofuse.Status {
	all, err := c.im.tree.ReadInline(n)
	if err == nil && (off < 0 || off > int64(len(all)-len(p))) {
		err = erofs.ErrCorrupt
	}
	if err != nil {
		return c.im.status(err)
	}
	copy(p, all[off:])
	c.fs.bytes.tree.Add(float64(len(p)))
	return gofuse.OK
}

// object reads from an object's file. Bytes count only if they are present after
// they were read: what is dropped meanwhile is fetched and read again.
func (c *call) object(s *slot, p []byte, off int64) gofuse.Status {
	for range maxTries {
		o, st := c.present(s, off, int64(len(p)))
		if st != gofuse.OK {
			return st
		}
		n, err := o.File().ReadAt(p, off)
		if !o.Present(off, int64(len(p))) {
			continue
		}
		if n < len(p) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			c.im.fail("file", fmt.Errorf("read %d bytes at %d of object %s: %w", len(p), off, s.device.Object, err))
			return gofuse.EIO
		}
		c.fs.bytes.object.Add(float64(len(p)))
		return gofuse.OK
	}
	c.im.fail("content", fmt.Errorf("object %s: bytes at %d are dropped as soon as they come", s.device.Object, off))
	return gofuse.EIO
}

// present opens the object if need be, and waits until the range is there.
func (c *call) present(s *slot, off, n int64) (Object, gofuse.Status) {
	o := s.opened()
	if o != nil && o.Present(off, n) {
		c.ahead(s, o, c.fh, off, n)
		return o, gofuse.OK
	}
	if s.isLate(off, n) {
		return nil, gofuse.EIO
	}
	w := c.im.beginWait(c.cancel, c.pid, s, off, n)
	defer w.end()
	if st := w.open(s); st != gofuse.OK {
		return nil, st
	}
	o = s.opened()
	for first := true; !o.Present(off, n); first = false {
		flights := s.fetch(o, off, n)
		if first {
			c.ahead(s, o, c.fh, off, n)
		}
		for _, f := range flights {
			if st := w.flight(f); st != gofuse.OK {
				return nil, st
			}
		}
	}
	return o, gofuse.OK
}

// open waits until the slot's object is open.
func (w *wait) open(s *slot) gofuse.Status {
	for s.opened() == nil {
		if st := w.flight(s.open()); st != gofuse.OK {
			return st
		}
	}
	return gofuse.OK
}
