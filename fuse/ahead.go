//go:build linux

package fuse

import (
	"math/rand/v2"
	"sync"

	"github.com/shoal-project/shoal/chunk"
)

const (
	// firstWindow is asked ahead when a sequential reader is first seen.
	firstWindow = 1 << 20
	// slack is by how much the requests of one sequential reader overtake each
	// other: the kernel reads ahead in parallel.
	slack = 2 << 20
	// neighbourhood of a read somewhere in a large object is asked for with it.
	neighbourhood = 1 << 20
	// maxHandles bounds the memory of readers' habits. A file that is opened
	// beyond it is served all the same, only without a growing window.
	maxHandles = 1 << 14
)

// reader is the habit of one open file. Losing it costs speed alone.
type reader struct {
	mu     sync.Mutex
	end    int64 // of the furthest read
	asked  int64 // all before it was asked for
	window int64
}

// next takes a read of [off, off+n) and tells what range to ask for ahead of the
// next ones; its length may be 0. limit bounds the window. A reader that starts
// at the front is taken for sequential.
func (h *reader) next(off, n, limit int64) (from, length int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	end := off + n
	if off > h.end+slack || end < h.end-slack {
		h.end, h.asked, h.window = end, end, 0
		from = off / neighbourhood * neighbourhood
		return from, min(neighbourhood, limit)
	}
	if end <= h.end {
		return 0, 0
	}
	h.end = end
	h.window = min(max(2*h.window, firstWindow), limit)
	h.asked = max(h.asked, end)
	if h.asked-end > h.window/2 {
		return 0, 0
	}
	from, h.asked = h.asked, end+h.window
	return from, h.asked - from
}

// handles has the habits of readers of files that are not complete, by file
// handle. A handle that is not here, such as another process's, is served too.
type handles struct {
	mu   sync.Mutex
	life uint64 // high half of all handles given, to differ from those of a process before
	last uint32
	open map[uint64]*reader
}

// init forgets all.
func (h *handles) init() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open = map[uint64]*reader{}
	h.life = uint64(rand.Uint32()>>1) << 32 // handleBit is for others
}

// give is the next file handle.
func (h *handles) give() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	return h.life | uint64(h.last)
}

// reader is the habit of fh, or nil if there is no room for one.
func (h *handles) reader(fh uint64) *reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.open[fh]
	if r == nil && len(h.open) < maxHandles {
		r = &reader{}
		h.open[fh] = r
	}
	return r
}

func (h *handles) forget(fh uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.open, fh)
}

// ahead asks for what will be read next, after a read of n bytes at off of the
// object: of a small object all, once; of a large one by the reader's habit.
func (r *requests) ahead(s *slot, o Object, fh uint64, off, n int64) {
	size, limit := s.device.Size, r.fs.cfg.AheadMax
	if limit == 0 || o.Complete() {
		return
	}
	if size <= chunk.Size {
		if s.hinted.CompareAndSwap(false, true) {
			r.hint(o, 0, size)
		}
		return
	}
	if h := r.fs.handles.reader(fh); h != nil {
		from, length := h.next(off, n, limit)
		r.hint(o, from, min(length, size-from))
	}
}

func (r *requests) hint(o Object, off, n int64) {
	if n > 0 && !o.Present(off, n) {
		o.Ahead(off, n)
		r.fs.metrics.Ahead.Add(float64(n))
	}
}
