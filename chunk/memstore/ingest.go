package memstore

import (
	"fmt"

	"github.com/shoal-project/shoal/chunk"
)

// ingest implements chunk.Ingest. Its object joins the table at Commit; until
// then the store counts its bytes and cannot evict it.
type ingest struct {
	store    *Store
	object   *object
	digester *chunk.Digester
	ended    bool
}

// Ingest implements chunk.Store.
func (s *Store) Ingest(size int64) (chunk.Ingest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, chunk.ErrClosed
	}
	if size < 0 || size > chunk.MaxObject {
		return nil, fmt.Errorf("ingest %d bytes: %w", size, chunk.ErrSize)
	}
	in := &ingest{store: s, object: newObject(s, chunk.Digest{}, size)}
	in.digester = chunk.NewDigester(size, in.block)
	return in, nil
}

// lock takes the store's lock for one operation, if the ingest still works.
func (in *ingest) lock() error {
	in.store.mu.Lock()
	if in.ended || in.store.closed {
		in.store.mu.Unlock()
		return chunk.ErrClosed
	}
	return nil
}

func (in *ingest) Write(p []byte) (int, error) {
	if err := in.lock(); err != nil {
		return 0, err
	}
	defer in.store.mu.Unlock()
	n, err := in.digester.Write(p)
	if err != nil {
		return n, fmt.Errorf("ingest: %w", err)
	}
	return n, nil
}

// block stores one block. The lock is held.
func (in *ingest) block(b int, data []byte, zero bool) error {
	i, at := b/chunk.BlocksPerChunk, b%chunk.BlocksPerChunk
	part := &in.object.chunks[i]
	if zero {
		return nil
	}
	if err := in.store.reserve(int64(len(data))); err != nil {
		return err
	}
	part.written |= 1 << at
	if part.data == nil {
		part.data = make([]byte, chunk.Length(in.object.size, i))
	}
	copy(part.data[at*chunk.BlockSize:], data)
	return nil
}

func (in *ingest) Commit() (chunk.Object, error) {
	if err := in.lock(); err != nil {
		return nil, err
	}
	defer in.store.mu.Unlock()
	in.ended = true
	d, sums, err := in.digester.Finish()
	if err != nil {
		in.store.free(in.object)
		return nil, fmt.Errorf("ingest: %w", err)
	}
	in.object.digest = d
	for i := range sums {
		in.object.record(i, sums[i], sums[i].Zeros(chunk.Length(in.object.size, i)))
	}
	o, err := in.store.merge(in.object)
	if err != nil {
		in.store.free(in.object)
		return nil, fmt.Errorf("ingest of %s: %w", d, err)
	}
	return in.store.handle(o), nil
}

func (in *ingest) Abort() error {
	in.store.mu.Lock()
	defer in.store.mu.Unlock()
	if !in.ended && !in.store.closed {
		in.store.free(in.object)
	}
	in.ended = true
	return nil
}

// merge makes n, which is whole and whose name is proved, the store's object,
// or moves what the store's own lacks, or has wrong, over to it. The lock is
// held.
func (s *Store) merge(n *object) (*object, error) {
	o, ok := s.objects[n.digest]
	if ok && o.size != n.size {
		if o.handles > 0 || o.list != nil {
			return nil, fmt.Errorf("%w: it has %d bytes and is said to have %d", chunk.ErrSize, n.size, o.size)
		}
		s.forget(o)
		ok = false
	}
	if !ok {
		s.objects[n.digest] = n
		return n, nil
	}
	if o.list != nil {
		for i, want := range o.list.Chunks {
			if n.chunks[i].sums.Digest() != want {
				return nil, fmt.Errorf("%w: it is sealed with other chunks", chunk.ErrCorrupt)
			}
		}
	}
	for i := range o.chunks {
		if o.present.Has(i) && o.chunks[i].sums.Digest() == n.chunks[i].sums.Digest() {
			n.clear(i)
			continue
		}
		o.clear(i)
		o.chunks[i] = n.chunks[i]
		o.present.Set(i)
	}
	return o, nil
}
