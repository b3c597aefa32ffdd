package download

import (
	"slices"
	"sync"

	"github.com/shoal-project/shoal/chunk"
)

// zeroSums are those of a whole chunk of zeros.
var zeroSums = sync.OnceValue(func() chunk.Sums {
	return slices.Repeat(chunk.Sums{chunk.ZeroSum(chunk.BlockSize)}, chunk.BlocksPerChunk)
})

// fillZeros takes the chunks that are nothing but zeros by the sealed list: they
// are never sent. Callers do not hold mu.
func (t *task) fillZeros() error {
	want := zeroSums().Digest()
	t.mu.Lock()
	list := t.list
	t.mu.Unlock()
	if list == nil {
		return nil
	}
	for c, d := range list.Chunks {
		if d != want || chunk.Length(list.Size, c) != chunk.Size {
			continue
		}
		if err := t.fillZero(c); err != nil {
			return err
		}
	}
	return nil
}

// fillZero takes one chunk of zeros, unless some of it is here or on its way.
func (t *task) fillZero(c int) error {
	first, end := chunk.ChunkBlocks(t.size, c)
	t.mu.Lock()
	for b := first; b < end; b++ {
		if t.state != fetching || t.here(b) || t.busy.Has(b) || t.flights[b] > 0 {
			t.mu.Unlock()
			return nil
		}
	}
	sums := zeroSums()
	for b := first; b < end; b++ {
		t.sums[b] = sums[b-first]
		t.have.Set(b)
	}
	t.pending++
	gen := t.gen[c]
	t.mu.Unlock()
	return t.put(c, gen, sums)
}
