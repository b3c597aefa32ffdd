package memstore

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// object is one object's bytes; its store's lock guards all that can change.
type object struct {
	store  *Store
	digest chunk.Digest
	size   int64

	handles int
	used    time.Time
	order   int64
	present *chunk.Bitmap
	chunks  []part
	list    *chunk.List // nil while not sealed
	seal    chunk.Seal
}

// part is one chunk.
type part struct {
	data    []byte     // nil until the first write
	written uint16     // blocks that were touched, a bit each
	zeros   uint16     // of a present chunk: blocks that are zeros, and not charged
	sums    chunk.Sums // of a present chunk
}

func newObject(s *Store, d chunk.Digest, size int64) *object {
	n := chunk.Count(size)
	return &object{store: s, digest: d, size: size, present: chunk.NewBitmap(n), chunks: make([]part, n)}
}

// charged is what chunk i counts for in the store's bytes.
func (o *object) charged(i int) int64 { return o.lengthOf(i, o.chunks[i].written&^o.chunks[i].zeros) }

// lengthOf is the length of the blocks in mask of chunk i.
func (o *object) lengthOf(i int, mask uint16) (n int64) {
	for ; mask != 0; mask &= mask - 1 {
		n += chunk.BlockLength(o.size, i*chunk.BlocksPerChunk+bits.TrailingZeros16(mask))
	}
	return n
}

// record notes chunk i as present. Its blocks of zeros are zeros whatever was
// written to them, and its bytes are kept only if there are others.
func (o *object) record(i int, sums chunk.Sums, zeros uint16) {
	part := &o.chunks[i]
	part.sums, part.zeros = sums, zeros
	o.present.Set(i)
	if part.data == nil {
		return
	}
	if o.lengthOf(i, zeros) == int64(len(part.data)) {
		part.data = nil
		return
	}
	for b := range sums {
		if zeros>>b&1 != 0 {
			at := b * chunk.BlockSize
			clear(part.data[at:min(at+chunk.BlockSize, len(part.data))])
		}
	}
}

// clear forgets chunk i and gives its bytes back.
func (o *object) clear(i int) {
	o.store.bytes -= o.charged(i)
	o.present.Clear(i)
	o.chunks[i] = part{}
}

// handle implements chunk.Object. The store's lock guards closed.
type handle struct {
	*object
	closed bool
}

var _ chunk.Object = (*handle)(nil)

func (h *handle) Digest() chunk.Digest { return h.digest }
func (h *handle) Size() int64          { return h.size }

// lock takes the store's lock for one operation, if the handle still works.
func (h *handle) lock() error {
	h.store.mu.Lock()
	if h.closed || h.store.closed {
		h.store.mu.Unlock()
		return chunk.ErrClosed
	}
	return nil
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	if err := h.lock(); err != nil {
		return 0, err
	}
	defer h.store.mu.Unlock()
	if off < 0 || off > h.size || int64(len(p)) > h.size-off {
		return 0, fmt.Errorf("write %d bytes at %d: beyond the object's %d", len(p), off, h.size)
	}
	done := 0
	for done < len(p) {
		n, err := h.writeChunk(p[done:], off+int64(done))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// writeChunk writes as much of p as lies in the chunk at off.
func (h *handle) writeChunk(p []byte, off int64) (int, error) {
	i, at := int(off/chunk.Size), off%chunk.Size
	if h.present.Has(i) {
		return 0, fmt.Errorf("write into chunk %d: %w", i, chunk.ErrPresent)
	}
	part := &h.chunks[i]
	n := min(int64(len(p)), chunk.Length(h.size, i)-at)
	mask := blockMask(at, n)
	if err := h.store.reserve(h.lengthOf(i, mask&^part.written)); err != nil {
		return 0, fmt.Errorf("write into chunk %d: %w", i, err)
	}
	if part.data == nil {
		part.data = make([]byte, chunk.Length(h.size, i))
	}
	part.written |= mask
	return copy(part.data[at:], p[:n]), nil
}

// blockMask has a bit for each block that n bytes at offset at of a chunk touch.
func blockMask(at, n int64) uint16 {
	first, last := at/chunk.BlockSize, (at+n-1)/chunk.BlockSize
	return uint16(1<<(last+1) - 1<<first)
}

func (h *handle) Put(i int, sums chunk.Sums) error {
	if err := h.lock(); err != nil {
		return err
	}
	defer h.store.mu.Unlock()
	if i < 0 || i >= len(h.chunks) {
		return fmt.Errorf("put chunk %d: the object has %d", i, len(h.chunks))
	}
	if h.present.Has(i) {
		return nil
	}
	length := chunk.Length(h.size, i)
	zeros := sums.Zeros(length)
	switch {
	case len(sums) != chunk.BlockCount(length):
		return fmt.Errorf("put chunk %d: %w: %d block digests for %d bytes", i, chunk.ErrCorrupt, len(sums), length)
	case h.lengthOf(i, h.chunks[i].written|zeros) != length:
		return fmt.Errorf("put chunk %d: only %d of its %d bytes were written", i, h.charged(i), length)
	case h.list != nil && sums.Digest() != h.list.Chunks[i]:
		return fmt.Errorf("put chunk %d: %w: the sealed list has another digest", i, chunk.ErrCorrupt)
	}
	h.store.bytes -= h.lengthOf(i, h.chunks[i].written&zeros)
	h.record(i, slices.Clone(sums), zeros)
	return nil
}

func (h *handle) Have() *chunk.Bitmap {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return h.present.Clone()
}

func (h *handle) Sums(i int) chunk.Sums {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	if !h.present.Has(i) {
		return nil
	}
	return h.chunks[i].sums
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.lock(); err != nil {
		return 0, err
	}
	defer h.store.mu.Unlock()
	if off < 0 {
		return 0, fmt.Errorf("read at negative offset %d", off)
	}
	done := 0
	for done < len(p) && off+int64(done) < h.size {
		done += h.readChunk(p[done:], off+int64(done))
	}
	if done < len(p) {
		return done, io.EOF
	}
	return done, nil
}

// readChunk reads what p asks of the chunk at off; what nobody wrote is zero.
func (h *handle) readChunk(p []byte, off int64) int {
	i, at := int(off/chunk.Size), off%chunk.Size
	p = p[:min(int64(len(p)), chunk.Length(h.size, i)-at)]
	if data := h.chunks[i].data; data != nil {
		return copy(p, data[at:])
	}
	clear(p)
	return len(p)
}

func (h *handle) Drop(i int) error {
	if err := h.lock(); err != nil {
		return err
	}
	defer h.store.mu.Unlock()
	if i < 0 || i >= len(h.chunks) {
		return fmt.Errorf("drop chunk %d: the object has %d", i, len(h.chunks))
	}
	h.clear(i)
	return nil
}

func (h *handle) Seal(l *chunk.List, s chunk.Seal) error {
	if err := errors.Join(l.Describes(h.digest, h.size), s.Validate()); err != nil {
		return fmt.Errorf("seal %s: %w", h.digest, err)
	}
	if err := h.lock(); err != nil {
		return err
	}
	defer h.store.mu.Unlock()
	kept := *l
	kept.Chunks = slices.Clone(l.Chunks)
	h.list, h.seal = &kept, s
	for i, want := range kept.Chunks {
		if h.present.Has(i) && h.chunks[i].sums.Digest() != want {
			h.clear(i)
		}
	}
	return nil
}

func (h *handle) Sealed() (*chunk.List, chunk.Seal, bool) {
	h.store.mu.Lock()
	defer h.store.mu.Unlock()
	return h.list, h.seal, h.list != nil
}

func (h *handle) File() (*os.File, error) { return nil, nil }

func (h *handle) Sync() error {
	if err := h.lock(); err != nil {
		return err
	}
	h.store.mu.Unlock()
	return nil
}

func (h *handle) Close() error {
	if err := h.lock(); err != nil {
		return err
	}
	defer h.store.mu.Unlock()
	h.closed = true
	h.handles--
	if h.handles > 0 {
		return nil
	}
	for i := range h.chunks {
		if !h.present.Has(i) {
			h.clear(i)
		}
	}
	return nil
}
