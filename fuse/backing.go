//go:build linux

package fuse

import "sync"

// backings has the open files that are, or could be, in passthrough. The kernel
// refuses an open with EIO if the inode is open already in the other way, or with
// another backing id. So the first open of a file decides for all, until the last
// one is closed.
type backings struct {
	mu      sync.Mutex
	current map[uint64]*backing // by node
	open    map[uint64]*backing // by file handle
}

type backing struct {
	node        uint64
	opens       int
	passthrough bool
	id          int32
}

// init forgets all. The kernel drops backing ids with their connection.
func (b *backings) init() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current, b.open = map[uint64]*backing{}, map[uint64]*backing{}
}

// take counts an open of a file that is the whole of an object. It asks the
// kernel under the lock: that blocks on nothing.
func (b *backings) take(node, fh uint64, s *slot, f *FS) (int32, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.current[node]
	if e == nil {
		e = &backing{node: node}
		b.current[node] = e
		if s.backable() {
			e.id, e.passthrough = f.conn.register(s.opened().File())
			if !e.passthrough {
				f.metrics.Refused.Inc()
			}
		}
	}
	e.opens++
	b.open[fh] = e
	return e.id, e.passthrough
}

// release counts the end of an open; handles that were not taken mean nothing.
func (b *backings) release(fh uint64, c *connection) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.open[fh]
	if e == nil {
		return
	}
	delete(b.open, fh)
	if e.opens--; e.opens > 0 {
		return
	}
	if b.current[e.node] == e {
		delete(b.current, e.node)
	}
	if e.passthrough {
		c.unregister(e.id)
	}
}

// forget makes the next open of an image's file decide anew. A later image of
// the same id must not be given the files of this one.
func (b *backings) forget(image uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for node := range b.current {
		if id, _ := splitNode(node); id == image {
			delete(b.current, node)
		}
	}
}

// backable tells whether the kernel may read the object's file instead of asking
// here: it is all there, and ends where the object ends, for the kernel would
// read on to the end of the file.
func (s *slot) backable() bool {
	o := s.opened()
	if o == nil || !o.Complete() {
		return false
	}
	info, err := o.File().Stat()
	return err == nil && info.Size() == s.device.Size
}
