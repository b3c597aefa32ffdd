package download

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// reader is one open object of a caller. The fields that the scheduler looks at
// are guarded by the task's mu.
type reader struct {
	t *task
	// strict readers came when the object was complete: they verify each block
	// again as they give it away. The others share the download's verification.
	strict  bool
	size    int64
	waiting bool // blocked on block
	block   int
	// end is the block after the last of a reader that wants no more than a part;
	// 0 for one that reads on.
	end      int
	priority distribution.Priority
	closed   bool
}

func (r *reader) Size() int64 { return r.size }

// Wait implements distribution.Reader.
func (r *reader) Wait(ctx context.Context) error {
	return r.t.await(ctx, func() bool { return r.t.state == done })
}

// Close implements distribution.Reader; closing twice does nothing.
func (r *reader) Close() error {
	r.t.mu.Lock()
	closed := r.closed
	r.closed = true
	delete(r.t.readers, r)
	r.t.mu.Unlock()
	if !closed {
		r.t.release(true)
	}
	return nil
}

// CopyRange implements distribution.Reader.
func (r *reader) CopyRange(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	if off < 0 || n < 0 || off+n > r.size {
		return 0, fmt.Errorf("read %d bytes at %d of an object of %d", n, off, r.size)
	}
	if r.strict {
		return r.copyVerified(ctx, w, off, n)
	}
	return r.copyArriving(ctx, w, off, n)
}

// copyVerified gives the very bytes that it verified.
func (r *reader) copyVerified(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	buf := r.t.e.buffer()
	defer r.t.e.recycle(buf)
	written := int64(0)
	for written < n {
		at := off + written
		b := int(at / chunk.BlockSize)
		if err := r.until(ctx, b); err != nil {
			return written, err
		}
		p := buf[:chunk.BlockLength(r.size, b)]
		ok, err := r.t.vouch(b, p)
		if err != nil {
			return written, err
		}
		if !ok {
			continue
		}
		p = p[at-int64(b)*chunk.BlockSize:]
		k, err := w.Write(p[:min(int64(len(p)), n-written)])
		written += int64(k)
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// copyArriving gives blocks as they come, from the object's own file.
func (r *reader) copyArriving(ctx context.Context, w io.Writer, off, n int64) (int64, error) {
	file, err := r.t.obj.File()
	if err != nil {
		return 0, err
	}
	if file != nil {
		defer file.Close()
	}
	written := int64(0)
	for written < n {
		k, err := r.available(ctx, off+written, n-written)
		if err != nil {
			return written, err
		}
		done, err := r.give(w, file, off+written, k)
		written += done
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// give copies present bytes; by sendfile when w can.
func (r *reader) give(w io.Writer, file *os.File, off, n int64) (int64, error) {
	if rf, ok := w.(io.ReaderFrom); ok && file != nil {
		if _, err := file.Seek(off, io.SeekStart); err != nil {
			return 0, err
		}
		done, err := rf.ReadFrom(&io.LimitedReader{R: file, N: n})
		if err == nil && done < n {
			err = io.ErrUnexpectedEOF
		}
		return done, err
	}
	buf := r.t.e.buffer()
	defer r.t.e.recycle(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, io.NewSectionReader(r.t.obj, off, n), buf)
}

// available is how many verified bytes there are from off, at least one.
func (r *reader) available(ctx context.Context, off, n int64) (int64, error) {
	b := int(off / chunk.BlockSize)
	for {
		if err := r.until(ctx, b); err != nil {
			return 0, err
		}
		end, err := r.t.settle(b, int((off+n-1)/chunk.BlockSize)+1)
		if err != nil {
			return 0, err
		}
		if end > b {
			return min(int64(end)*chunk.BlockSize, off+n) - off, nil
		}
	}
}

// until waits for block b, and tells the scheduler so.
func (r *reader) until(ctx context.Context, b int) error {
	t := r.t
	t.mu.Lock()
	r.block = b
	if t.here(b) {
		r.waiting = false
		t.mu.Unlock()
		return nil
	}
	r.waiting = true
	t.mu.Unlock()
	ended := t.e.demand.wait(t, r.priority)
	t.poke()
	err := t.await(ctx, func() bool { return t.here(b) })
	ended(err == nil)
	t.mu.Lock()
	r.waiting = false
	t.mu.Unlock()
	return err
}

// settle verifies held blocks in [b, end) and returns the first block after b
// that is not verified; at most a chunk's worth at a time.
func (t *task) settle(b, end int) (int, error) {
	const most = 4 * chunk.BlocksPerChunk
	var buf []byte
	for end = min(end, b+most); b < end; b++ {
		t.mu.Lock()
		have, held := t.have.Has(b), t.held.Has(b)
		t.mu.Unlock()
		if have {
			continue
		}
		if !held {
			return b, nil
		}
		if buf == nil {
			buf = t.e.buffer()
			defer t.e.recycle(buf)
		}
		ok, err := t.vouch(b, buf[:chunk.BlockLength(t.size, b)])
		if err != nil || !ok {
			return b, err
		}
	}
	return b, nil
}
