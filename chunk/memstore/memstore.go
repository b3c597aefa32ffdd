// Package memstore is chunk.Store in memory: the twin of chunk/diskstore for
// tests, simulations and short-lived tools.
//
// It keeps the whole contract but the part about crashes: what it holds goes
// with the process, and a closed store is empty. It has no files, so
// [chunk.Object.File] gives nil. Memory is taken a chunk at a time, when its
// first byte is written.
//
// One lock guards a whole store. All methods are safe for concurrent use.
package memstore

import (
	"fmt"
	"sync"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// Store implements chunk.Store.
type Store struct {
	quota int64

	mu      sync.Mutex
	closed  bool
	objects map[chunk.Digest]*object
	bytes   int64
	evicted int64
	clock   int64 // counts opens: an order that no coarse clock can blur
	pins    map[string][]chunk.Digest
	pinned  map[chunk.Digest]int // by how many pins
}

var _ chunk.Store = (*Store)(nil)

// New makes an empty store that holds at most quota bytes; zero is no limit.
func New(quota int64) *Store {
	return &Store{
		quota: quota, objects: make(map[chunk.Digest]*object),
		pins: make(map[string][]chunk.Digest), pinned: make(map[chunk.Digest]int),
	}
}

// Open implements chunk.Store.
func (s *Store) Open(d chunk.Digest) (chunk.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, chunk.ErrClosed
	}
	o, ok := s.objects[d]
	if !ok {
		return nil, fmt.Errorf("open %s: %w", d, chunk.ErrNotFound)
	}
	return s.handle(o), nil
}

// Create implements chunk.Store.
func (s *Store) Create(d chunk.Digest, size int64) (chunk.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, chunk.ErrClosed
	}
	if size < 0 || size > chunk.MaxObject {
		return nil, fmt.Errorf("create %s of %d bytes: %w", d, size, chunk.ErrSize)
	}
	o, ok := s.objects[d]
	if ok && o.size != size {
		if o.handles > 0 || o.list != nil {
			return nil, fmt.Errorf("create %s of %d bytes, it has %d: %w", d, size, o.size, chunk.ErrSize)
		}
		s.forget(o)
		ok = false
	}
	if !ok {
		o = newObject(s, d, size)
		s.objects[d] = o
	}
	return s.handle(o), nil
}

// handle counts one more user of o. The lock is held.
func (s *Store) handle(o *object) *handle {
	s.clock++
	o.handles++
	o.used, o.order = time.Now(), s.clock
	return &handle{object: o}
}

// Remove implements chunk.Store.
func (s *Store) Remove(d chunk.Digest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, ok := s.objects[d]
	switch {
	case s.closed:
		return chunk.ErrClosed
	case !ok:
		return fmt.Errorf("remove %s: %w", d, chunk.ErrNotFound)
	case o.handles > 0 || s.pinned[d] > 0:
		return fmt.Errorf("remove %s: %w", d, chunk.ErrInUse)
	}
	s.forget(o)
	return nil
}

// forget takes o out, with all its bytes. The lock is held.
func (s *Store) forget(o *object) {
	s.free(o)
	delete(s.objects, o.digest)
}

// free gives o's bytes back. The lock is held.
func (s *Store) free(o *object) {
	for i := range o.chunks {
		s.bytes -= o.charged(i)
	}
}

// Objects implements chunk.Store.
func (s *Store) Objects() []chunk.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := make([]chunk.Info, 0, len(s.objects))
	for _, o := range s.objects {
		infos = append(infos, chunk.Info{
			Digest: o.digest, Size: o.size, Present: o.present.Count(),
			Sealed: o.list != nil, InUse: o.handles > 0, Used: o.used,
		})
	}
	return infos
}

// Usage implements chunk.Store.
func (s *Store) Usage() chunk.Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return chunk.Usage{Objects: len(s.objects), Bytes: s.bytes, Quota: s.quota, Free: -1, Evicted: s.evicted}
}

// reserve takes n bytes of the quota, evicting what is unused, longest first.
// The lock is held.
func (s *Store) reserve(n int64) error {
	for s.quota > 0 && s.bytes+n > s.quota {
		victim := s.oldestUnused()
		if victim == nil {
			return chunk.ErrFull
		}
		before := s.bytes
		s.forget(victim)
		s.evicted += before - s.bytes
	}
	s.bytes += n
	return nil
}

func (s *Store) oldestUnused() *object {
	var oldest *object
	for _, o := range s.objects {
		if o.handles == 0 && s.pinned[o.digest] == 0 && (oldest == nil || o.order < oldest.order) {
			oldest = o
		}
	}
	return oldest
}

// Close implements chunk.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return chunk.ErrClosed
	}
	s.closed, s.objects, s.pins, s.bytes = true, nil, nil, 0
	return nil
}
