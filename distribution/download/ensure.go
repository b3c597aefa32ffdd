package download

import (
	"context"
	"fmt"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Ensure makes n bytes of an object from off on present and tells which blocks of
// it are, all of them verified under a seal or the whole object's digest. Their
// bytes are in the store's file; what was asked for whole is so in the store, too.
// It asks for nothing beyond the bytes. What is less urgent gives way to what is
// more, in any object.
func (e *Engine) Ensure(ctx context.Context, src distribution.Source, off, n int64, p distribution.Priority) (*chunk.Bitmap, error) {
	t, err := e.take(ctx, src, -1, false)
	if err != nil {
		return nil, err
	}
	if err := t.await(ctx, t.readable); err != nil {
		t.release(true)
		return nil, err
	}
	r := &reader{t: t, priority: p}
	t.mu.Lock()
	r.size = t.size
	t.readers[r] = struct{}{}
	t.mu.Unlock()
	defer r.Close()
	if off < 0 || n < 0 || off > r.size || n > r.size-off {
		return nil, fmt.Errorf("%d bytes at %d of an object of %d", n, off, r.size)
	}
	if err := r.ensure(ctx, off, n); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.have.Clone(), nil
}

// ensure waits for each block of the range, and for the proof that it is right.
func (r *reader) ensure(ctx context.Context, off, n int64) error {
	if n == 0 {
		return nil
	}
	b, end := int(off/chunk.BlockSize), int((off+n-1)/chunk.BlockSize)+1
	for b < end {
		r.t.mu.Lock()
		r.end = end
		r.t.mu.Unlock()
		if err := r.until(ctx, b); err != nil {
			return err
		}
		next, err := r.t.settle(b, end)
		if err != nil {
			return err
		}
		b = next
	}
	whole := off == 0 && n == r.size
	return r.t.await(ctx, func() bool { return r.t.list != nil && (!whole || r.t.state == done) })
}

// pause is how long the loop sleeps when nothing wakes it: long while nobody
// waits for anything. Callers hold mu.
func (t *task) pause() time.Duration {
	if t.everything || len(t.fetches) > 0 || t.state != fetching {
		return tick
	}
	for r := range t.readers {
		if r.waiting {
			return tick
		}
	}
	return idleTick
}

// idleTick is a dormant loop's.
const idleTick = time.Second
