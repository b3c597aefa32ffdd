//go:build linux

package content

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// Handle is an object as one image reads it.
type Handle struct {
	object *object
	image  *Image
}

// openPatience bounds how long opening an object waits for the peer's word on
// what of it is here.
const openPatience = 2 * time.Second

// open makes a handle, and learns what is here already.
func (o *object) open(m *Image) (*Handle, error) {
	o.mu.Lock()
	o.handles++
	replaced := o.replaced
	o.mu.Unlock()
	h := &Handle{o, m}
	if replaced {
		return nil, errors.Join(fmt.Errorf("%s: %w", o.digest, ErrReplaced), h.Close())
	}
	ctx, cancel := context.WithTimeout(o.table.ctx, openPatience)
	defer cancel()
	if err := o.learn(ctx, m, 1); err != nil && !errors.Is(err, chunk.ErrNotFound) {
		o.table.log.Debug("opening an object of the store", "object", o.digest.String(), "error", err)
	}
	return h, nil
}

// learn finds out which blocks are here, without bringing any, from the peer; it
// asks of the first most chunks that the store has a mark for and that are not
// known to be here. The peer hashes what it is asked about for the first time, and
// may answer for that alone. If it is away the file is hashed later, where it is read.
func (o *object) learn(ctx context.Context, m *Image, most int) error {
	p, err := o.acquire()
	if err != nil {
		return err
	}
	defer o.release()
	o.mu.Lock()
	if o.handles > 0 {
		o.hold()
	}
	o.mu.Unlock()
	marked := p.Have()
	for i := marked.NextSet(0); i < marked.Len() && most > 0; i = marked.NextSet(i + 1) {
		if o.complete.Load() || o.table.away.Load() {
			return nil
		}
		first, end := chunk.ChunkBlocks(o.size, i)
		if o.present(first, end) {
			continue
		}
		if err := o.ask(ctx, m, first, end, byStore); err != nil {
			return err
		}
		most--
	}
	return nil
}

// File has the object's bytes; nil until the store has the object. It is the
// same from then on, until Close.
func (h *Handle) File() *os.File { return h.object.file.Load() }

// Present tells whether a range is in File, verified. It does no I/O.
func (h *Handle) Present(off, n int64) bool {
	return h.Complete() || n == 0 || h.File() != nil && h.object.present(h.object.blocks(off, n))
}

// Complete tells whether all of the object is in File, verified.
func (h *Handle) Complete() bool {
	return h.object.complete.Load() && (h.File() != nil || h.object.size == 0)
}

// Fetch tries once to make a range present, ahead of everything that no read
// waits for, and returns when it is or the try failed. Trying again is the
// caller's, who knows how long somebody waits.
func (h *Handle) Fetch(ctx context.Context, off, n int64) error {
	if off < 0 || n < 0 || off > h.object.size || n > h.object.size-off {
		return fmt.Errorf("bytes %d to %d of %s: the object has %d", off, off+n, h.object.digest, h.object.size)
	}
	if h.Present(off, n) {
		return nil
	}
	first, end := h.object.blocks(off, n)
	return h.object.fetch(ctx, h.image, first, end)
}

// Ahead hints that a range will be wanted soon.
func (h *Handle) Ahead(off, n int64) {
	if off >= 0 && n > 0 && off < h.object.size && !h.Complete() {
		first, end := h.object.blocks(off, n)
		h.image.readAhead(h.object, first, end)
	}
}

// Close gives the file back.
func (h *Handle) Close() error {
	o := h.object
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.handles--; o.handles == 0 && o.held {
		o.held = false
		o.file.Store(nil)
		o.releaseLocked()
	}
	return nil
}
