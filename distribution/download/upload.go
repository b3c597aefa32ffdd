package download

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// upload is one object being given to another node.
type upload struct {
	t    *task
	once sync.Once
}

// Upload implements distribution.Uploads: from a running task, or from what the
// store has.
func (e *Engine) Upload(id chunk.Digest) (distribution.Upload, error) {
	t, err := e.resident(id)
	if err != nil {
		return nil, err
	}
	return &upload{t: t}, nil
}

func (u *upload) Size() int64 { return u.t.size }

func (u *upload) Close() error {
	u.once.Do(func() { u.t.release(false) })
	return nil
}

// Sums implements distribution.Upload.
func (u *upload) Sums(c int) chunk.Sums {
	t := u.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.obj == nil || c < 0 || c >= chunk.Count(t.size) {
		return nil
	}
	first, end := chunk.ChunkBlocks(t.size, c)
	for b := first; b < end; b++ {
		if t.sums[b].IsZero() {
			return nil
		}
	}
	return append(chunk.Sums(nil), t.sums[first:end]...)
}

// Await implements distribution.Upload. Only blocks that were granted to this
// node are waited for: what it takes from neighbours it may offer once it has
// it, so that no two nodes wait for each other.
func (u *upload) Await(ctx context.Context, off, n int64) (int64, error) {
	t := u.t
	if off < 0 || n <= 0 || off+n > t.size {
		return 0, distribution.ErrAbsent
	}
	b, end := int(off/chunk.BlockSize), int((off+n-1)/chunk.BlockSize)+1
	for {
		absent := false
		err := t.await(ctx, func() bool {
			absent = !t.here(b) && !t.coming(b)
			return absent || t.here(b)
		})
		if err != nil {
			return 0, err
		}
		if absent {
			return 0, distribution.ErrAbsent
		}
		stop, err := t.settle(b, end)
		if err != nil {
			return 0, err
		}
		if stop > b {
			k := min(int64(stop)*chunk.BlockSize, off+n) - off
			t.e.metrics.Sent.Add(float64(k))
			return k, nil
		}
	}
}

// coming tells whether block b is on its way from the supernode by grant, or
// from the origin. Callers hold mu.
func (t *task) coming(b int) bool {
	if t.small {
		return t.state == fetching
	}
	if t.flights == nil || t.flights[b] == 0 {
		return t.authority() && t.state == fetching && t.looping
	}
	for f := range t.fetches {
		if (f.granted || f.link == nil) && b >= int(f.run.First) && b < f.run.End() {
			return true
		}
	}
	return false
}

// authority tells whether this node fetches all of the object itself. Callers
// hold mu.
func (t *task) authority() bool { return t.origin && !t.member }

func (u *upload) ReadAt(p []byte, off int64) (int, error) {
	k, err := u.t.obj.ReadAt(p, off)
	if err != nil {
		return k, fmt.Errorf("%w: read at %d: %w", errStore, off, err)
	}
	return k, nil
}

func (u *upload) File() (*os.File, error) { return u.t.obj.File() }
