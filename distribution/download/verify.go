package download

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/shoal-project/shoal/chunk"
)

// hashWhole digests the object in order as its blocks arrive, and seals it, or
// voids it, at the end. It is the authority's last word, and that of a member
// that gets none.
func (t *task) hashWhole(ctx context.Context) error {
	h := sha256.New()
	buf := t.e.buffer()
	defer t.e.recycle(buf)
	for b := range chunk.BlockCount(t.size) {
		if err := t.await(ctx, func() bool { return t.here(b) }); err != nil {
			return err
		}
		p := buf[:chunk.BlockLength(t.size, b)]
		if _, err := t.obj.ReadAt(p, int64(b)*chunk.BlockSize); err != nil {
			return fmt.Errorf("%w: read block %d: %w", errStore, b, err)
		}
		h.Write(p)
	}
	if chunk.Digest(h.Sum(nil)) != t.id {
		return fmt.Errorf("%s: %w", t.id, ErrWhole)
	}
	return t.sealOwn()
}

// sealOwn lists the chunks, signs the list with the node's own key and keeps it.
func (t *task) sealOwn() error {
	list := &chunk.List{Kind: chunk.KindBlob, Object: t.id, Size: t.size}
	t.mu.Lock()
	for c := range chunk.Count(t.size) {
		first, end := chunk.ChunkBlocks(t.size, c)
		list.Chunks = append(list.Chunks, chunk.Sums(t.sums[first:end]).Digest())
	}
	t.mu.Unlock()
	seal, err := chunk.Sign(t.e.deps.Key, list)
	if err != nil {
		return err
	}
	return t.takeSeal(list, seal)
}

// takeSeal adopts a verified seal. Chunks that differ from it are dropped; if
// that leaves nothing missing, the task is done.
func (t *task) takeSeal(list *chunk.List, seal chunk.Seal) error {
	t.mu.Lock()
	if t.state != fetching || t.list != nil || t.swept {
		t.finishIfWhole()
		t.signal()
		t.mu.Unlock()
		return nil
	}
	t.dropUnlike(list)
	// The list counts at once; the object is not done before the store has it
	// durably, which can take a while.
	t.list, t.seal = list, seal
	t.pending++
	t.signal()
	t.mu.Unlock()
	t.poke()
	err := t.fillZeros()
	if err == nil {
		if err = t.obj.Seal(list, seal); err != nil {
			err = fmt.Errorf("%w the seal: %w", errStore, err)
		}
	}
	t.mu.Lock()
	t.pending--
	if err == nil {
		t.finishIfWhole()
	}
	t.signal()
	t.mu.Unlock()
	if err != nil {
		return err
	}
	if o := t.e.deps.Observer; o != nil {
		o.Sealed(list, seal)
	}
	t.poke()
	return nil
}

// dropUnlike forgets every chunk whose known block digests are not the list's.
// Callers hold mu.
func (t *task) dropUnlike(list *chunk.List) {
	for c, want := range list.Chunks {
		first, end := chunk.ChunkBlocks(t.size, c)
		known := true
		for b := first; b < end; b++ {
			known = known && !t.sums[b].IsZero()
		}
		if known && chunk.Sums(t.sums[first:end]).Digest() != want {
			t.story.note(fmt.Sprintf("chunk %d is not what the seal says: dropped", c))
			t.dropChunk(c)
		}
	}
}

// dropChunk makes all blocks of chunk c missing again. Callers hold mu.
func (t *task) dropChunk(c int) {
	first, end := chunk.ChunkBlocks(t.size, c)
	t.gen[c]++
	for b := first; b < end; b++ {
		if t.here(b) {
			t.news.lost = add(t.news.lost, b)
		}
		t.have.Clear(b)
		t.held.Clear(b)
		t.sums[b] = chunk.Digest{}
		t.story.block[b] = 0
	}
	t.touch(t.e.cfg.Batch)
	t.complete = zeroTime
	_ = t.obj.Drop(c)
}

// vouch verifies a block that the store held from before. If it is wrong its
// chunk is dropped and will be fetched again. p is the block's buffer and has
// its bytes afterwards.
func (t *task) vouch(b int, p []byte) (bool, error) {
	t.mu.Lock()
	want, c := t.sums[b], b/chunk.BlocksPerChunk
	first, end := chunk.ChunkBlocks(t.size, c)
	listed := t.list == nil || chunk.Sums(t.sums[first:end]).Digest() == t.list.Chunks[c]
	t.mu.Unlock()
	if _, err := t.obj.ReadAt(p, int64(b)*chunk.BlockSize); err != nil {
		return false, fmt.Errorf("%w: read block %d: %w", errStore, b, err)
	}
	right := listed && chunk.SumBytes(p) == want
	t.mu.Lock()
	defer t.mu.Unlock()
	if right {
		if t.held.Clear(b) {
			t.have.Set(b)
			t.story.came(b, Teller{Kind: fromStore})
		}
		return true, nil
	}
	if t.here(b) {
		t.e.metrics.Blocks.WithLabelValues("corrupt").Inc()
		t.log.Error("a stored chunk is corrupt: dropped, to be fetched again", "chunk", c)
		t.story.note(fmt.Sprintf("chunk %d was corrupt in this node's store", c))
		t.dropChunk(c)
		t.reopen()
	}
	t.signal()
	return false, nil
}

// reopen makes a task fetch again. Callers hold mu.
func (t *task) reopen() {
	if t.state == done {
		t.state = fetching
	}
	t.e.begin(t)
}

// void begins again after the whole proved wrong: nothing of it is kept.
// Callers hold mu.
func (t *task) void() {
	for f := range t.fetches {
		f.cancel(errSuperseded)
	}
	for c := range chunk.Count(t.size) {
		t.dropChunk(c)
	}
	t.list = nil
}
