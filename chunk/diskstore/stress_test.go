package diskstore

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/storetest"
)

// TestEverythingAtOnce lets users, the evictor, the syncer and removals loose on
// a few objects that do not fit together: what anybody has is right, and in the
// end the store's count is that of its chunks.
func TestEverythingAtOnce(t *testing.T) {
	cfg := quiet()
	cfg.Quota, cfg.SyncBytes, cfg.SyncInterval = 5*chunk.BlockSize, chunk.BlockSize, time.Millisecond
	s := openStore(t, t.TempDir(), cfg)
	var contents []storetest.Content
	for seed := range byte(6) {
		contents = append(contents, storetest.NewContent(seed, chunk.BlockSize+int(seed)))
	}
	var wg sync.WaitGroup
	for worker := range uint64(6) {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(worker, 1))
			for range 40 {
				useOnce(t, s, contents[random.IntN(len(contents))], random.IntN(4) == 0)
			}
		})
	}
	wg.Wait()
	var want int64
	for _, info := range s.Objects() {
		if info.InUse {
			t.Errorf("%s is in use by nobody", info.Digest)
		}
		want += presentBytes(t, s, info)
	}
	if got := s.Usage().Bytes; got != want {
		t.Errorf("the store counts %d bytes, its chunks have %d", got, want)
	}
}

// useOnce does one thing with c's object; being full, removed or beaten to it
// is part of life.
func useOnce(t *testing.T, s *Store, c storetest.Content, remove bool) {
	if remove {
		if err := s.Remove(c.Digest); err != nil && !errors.Is(err, chunk.ErrNotFound) && !errors.Is(err, chunk.ErrInUse) {
			t.Error(err)
		}
		return
	}
	o, err := s.Create(c.Digest, c.Size())
	if err != nil {
		t.Error(err)
		return
	}
	defer o.Close()
	_, err = o.WriteAt(c.Bytes, 0)
	if err == nil {
		err = o.Put(0, c.Sums(0))
	}
	switch {
	case err == nil, errors.Is(err, chunk.ErrPresent):
		if n := c.VerifyPresent(t, o); n != 1 {
			t.Errorf("%d chunks of an open object after put, want 1", n)
		}
	case !errors.Is(err, chunk.ErrFull) && o.Have().Has(0):
		// Without the chunk it is another user's claim that found no room.
		t.Error(err)
	}
}
