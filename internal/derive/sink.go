package derive

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer"
)

// sealers is how many objects are sealed side by side: each waits for the disk.
const sealers = 16

// sink puts one layer's objects into the store. They are open, and so not evicted,
// until they are sealed or discarded.
type sink struct {
	store chunk.Store

	mu   sync.Mutex
	made []made
	seen map[chunk.Digest]bool
}

// made is one object of the layer.
type made struct {
	obj   chunk.Object
	kind  chunk.Kind
	fresh bool // the store did not have it whole before
}

func newSink(store chunk.Store) *sink { return &sink{store: store, seen: map[chunk.Digest]bool{}} }

// Put implements layer.Sink.
func (s *sink) Put(data []byte) (chunk.Digest, error) {
	id := chunk.SumBytes(data)
	obj, err := s.store.Create(id, int64(len(data)))
	if err != nil {
		return id, err
	}
	fresh := !obj.Have().Full()
	if fresh {
		if _, err = obj.WriteAt(data, 0); err == nil {
			err = obj.Put(0, chunk.SumBlocks(data))
		}
	}
	s.add(made{obj, chunk.KindPack, fresh})
	return id, err
}

func (s *sink) add(m made) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[m.obj.Digest()] {
		_ = m.obj.Close()
		return
	}
	s.seen[m.obj.Digest()] = true
	s.made = append(s.made, m)
}

// Ingest implements layer.Sink.
func (s *sink) Ingest(size int64) (layer.Ingest, error) {
	in, err := s.store.Ingest(size)
	if err != nil {
		return nil, err
	}
	return &ingest{Ingest: in, sink: s}, nil
}

// ingest is a large file on its way into the store.
type ingest struct {
	chunk.Ingest
	sink *sink
}

// Commit implements layer.Ingest.
func (i *ingest) Commit() (chunk.Digest, error) {
	obj, err := i.Ingest.Commit()
	if err != nil {
		return chunk.Digest{}, err
	}
	_, _, sealed := obj.Sealed()
	i.sink.add(made{obj, chunk.KindFile, !sealed})
	return obj.Digest(), nil
}

// seal makes all objects count.
func (s *sink) seal(ctx context.Context, key ed25519.PrivateKey) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(sealers)
	for _, m := range s.made {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return sealObject(m.obj, m.kind, key)
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	s.close()
	return nil
}

func (s *sink) close() {
	for _, m := range s.made {
		_ = m.obj.Close()
	}
	s.made = nil
}

// discard takes what this layer brought out of the store again.
func (s *sink) discard() {
	fresh := s.made
	s.close()
	for _, m := range fresh {
		if m.fresh {
			_ = s.store.Remove(m.obj.Digest()) // in use: somebody else needs it
		}
	}
}

// sealObject signs the list of a whole object, unless it is sealed already.
func sealObject(obj chunk.Object, kind chunk.Kind, key ed25519.PrivateKey) error {
	if list, seal, ok := obj.Sealed(); ok && obj.Have().Full() && seal.Verify(list, []ed25519.PublicKey{key.Public().(ed25519.PublicKey)}) == nil {
		return nil
	}
	list := &chunk.List{Kind: kind, Object: obj.Digest(), Size: obj.Size()}
	for c := range chunk.Count(obj.Size()) {
		sums := obj.Sums(c)
		if sums == nil {
			return fmt.Errorf("object %s: chunk %d is not in the store", obj.Digest(), c)
		}
		list.Chunks = append(list.Chunks, sums.Digest())
	}
	seal, err := chunk.Sign(key, list)
	if err != nil {
		return err
	}
	return obj.Seal(list, seal)
}
