package diskstore

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"slices"
	"sync/atomic"

	"github.com/shoal-project/shoal/chunk"
)

// handle implements chunk.Object.
type handle struct {
	object *object
	files  *files
	closed atomic.Bool
}

var _ chunk.Object = (*handle)(nil)

func (h *handle) Digest() chunk.Digest { return h.object.digest }
func (h *handle) Size() int64          { return h.object.size }

// check tells whether the handle still works.
func (h *handle) check() error {
	if h.closed.Load() || h.object.store.closed.Load() {
		return chunk.ErrClosed
	}
	return nil
}

// outcome is an operation's error in the words of the contract.
func (h *handle) outcome(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return chunk.ErrClosed
	}
	return diskError(err)
}

func (h *handle) WriteAt(p []byte, off int64) (int, error) {
	if err := h.check(); err != nil {
		return 0, err
	}
	size := h.object.size
	if off < 0 || off > size || int64(len(p)) > size-off {
		return 0, fmt.Errorf("write %d bytes at %d: beyond the object's %d", len(p), off, size)
	}
	done := 0
	for done < len(p) {
		at := off + int64(done)
		i := int(at / chunk.Size)
		n := int(min(int64(len(p)-done), int64(i+1)*chunk.Size-at))
		if err := h.writeChunk(i, p[done:done+n], at); err != nil {
			return done, fmt.Errorf("write into chunk %d of %s: %w", i, h.object.digest, err)
		}
		done += n
	}
	return done, nil
}

// writeChunk writes bytes that lie in chunk i.
func (h *handle) writeChunk(i int, p []byte, off int64) error {
	o := h.object
	claimed, err := o.claim(i, blockMask(off%chunk.Size, int64(len(p))))
	if err != nil {
		return err
	}
	_, err = h.files.data.WriteAt(p, off)
	if noRoom(err) && o.store.afterNoRoom() {
		_, err = h.files.data.WriteAt(p, off)
	}
	if err != nil {
		o.unclaim(i, claimed)
	}
	return h.outcome(err)
}

// claim notes that the blocks in mask of chunk i are being written, and charges
// for those that nobody claimed before; it returns these. A block is noted only
// once there is room for it, so that nobody else relies on a claim that fails.
func (o *object) claim(i int, mask uint16) (claimed uint16, err error) {
	wanted, first, err := o.unclaimed(i, mask)
	if err != nil || wanted == 0 {
		return 0, err
	}
	reserved := o.blockBytes(i, wanted)
	if err := o.store.reserve(reserved, first); err != nil {
		return 0, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.present == nil:
		o.store.charge(-reserved)
		return 0, chunk.ErrClosed
	case o.present.Has(i):
		o.store.charge(-reserved)
		return 0, chunk.ErrPresent
	}
	claimed = wanted &^ o.touched[i]
	o.touched[i] |= claimed
	n := o.blockBytes(i, claimed)
	o.bytes += n
	o.store.charge(n - reserved)
	return claimed, nil
}

// unclaimed is which blocks in mask of the absent chunk i nobody claimed, and
// whether no block of the chunk is claimed at all.
func (o *object) unclaimed(i int, mask uint16) (wanted uint16, first bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.present == nil:
		return 0, false, chunk.ErrClosed
	case o.present.Has(i):
		return 0, false, chunk.ErrPresent
	}
	return mask &^ o.touched[i], o.touched[i] == 0, nil
}

// unclaim takes a claim back whose bytes could not be written.
func (o *object) unclaim(i int, claimed uint16) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.present == nil || o.present.Has(i) {
		return
	}
	claimed &= o.touched[i]
	o.touched[i] &^= claimed
	o.adjust(-o.blockBytes(i, claimed))
}

func (h *handle) Put(i int, sums chunk.Sums) error {
	if err := h.check(); err != nil {
		return err
	}
	o := h.object
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.present == nil {
		return chunk.ErrClosed
	}
	if o.present.Has(i) {
		return nil
	}
	holes, err := o.mayPut(i, sums)
	if err != nil {
		return fmt.Errorf("put chunk %d of %s: %w", i, o.digest, err)
	}
	err = o.hollow(h.files, i, holes)
	if err == nil {
		err = o.record(h.files, i, holes, sums)
	}
	if err != nil {
		return fmt.Errorf("put chunk %d of %s: %w", i, o.digest, h.outcome(err))
	}
	o.adjust(-o.blockBytes(i, holes&o.touched[i]))
	o.sums[i] = slices.Clone(sums)
	o.touched[i], o.holes[i] = 0, holes
	o.present.Set(i)
	o.count++
	o.await(i)
	return nil
}

// mayPut tells what forbids recording chunk i, and which of its blocks are
// zeros. o.mu is held.
func (o *object) mayPut(i int, sums chunk.Sums) (holes uint16, err error) {
	if i < 0 || i >= o.present.Len() {
		return 0, fmt.Errorf("the object has %d chunks", o.present.Len())
	}
	length := chunk.Length(o.size, i)
	if len(sums) != chunk.BlockCount(length) {
		return 0, fmt.Errorf("%w: %d block digests for %d bytes", chunk.ErrCorrupt, len(sums), length)
	}
	holes = sums.Zeros(length)
	if n := o.blockBytes(i, o.touched[i]|holes); n != length {
		return 0, fmt.Errorf("only %d of its %d bytes were written", n, length)
	}
	if o.list != nil && sums.Digest() != o.list.Chunks[i] {
		return 0, fmt.Errorf("%w: the sealed list has another digest", chunk.ErrCorrupt)
	}
	return holes, nil
}

// hollow makes the blocks in mask of chunk i zeros, whatever lies there: a
// dropped chunk's bytes stay if the disk did not take them back. o.mu is held.
func (o *object) hollow(f *files, i int, mask uint16) error {
	for mask != 0 {
		first := bits.TrailingZeros16(mask)
		run := bits.TrailingZeros16(^(mask >> first))
		at := int64(i)*chunk.Size + int64(first)*chunk.BlockSize
		if err := zero(f.data, at, min(int64(run)*chunk.BlockSize, o.size-at)); err != nil {
			return err
		}
		mask &^= 1<<(first+run) - 1<<first
	}
	return nil
}

// record writes chunk i's sums and its mark. o.mu is held.
func (o *object) record(f *files, i int, holes uint16, sums chunk.Sums) error {
	var buf [sumsStride]byte
	raw, err := sums.AppendBinary(buf[:0])
	if err != nil {
		return err
	}
	if _, err := f.have.WriteAt(raw, sumsOffset(o.size, i)); err != nil {
		return err
	}
	b := mark{state: written, holes: holes}.encode(o.digest, i, raw)
	_, err = f.have.WriteAt(b[:], markOffset(i))
	return err
}

func (h *handle) Have() *chunk.Bitmap {
	o := h.object
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.present == nil {
		return chunk.NewBitmap(chunk.Count(o.size))
	}
	return o.present.Clone()
}

func (h *handle) Sums(i int) chunk.Sums {
	o := h.object
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.present == nil || !o.present.Has(i) {
		return nil
	}
	return o.sums[i]
}

func (h *handle) ReadAt(p []byte, off int64) (int, error) {
	if err := h.check(); err != nil {
		return 0, err
	}
	n, err := h.files.data.ReadAt(p, off)
	if err == io.EOF {
		return n, io.EOF
	}
	return n, h.outcome(err)
}

func (h *handle) Drop(i int) error {
	if err := h.check(); err != nil {
		return err
	}
	o := h.object
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.present == nil {
		return chunk.ErrClosed
	}
	if i < 0 || i >= o.present.Len() {
		return fmt.Errorf("drop chunk %d of %s: it has %d chunks", i, o.digest, o.present.Len())
	}
	if o.touched[i] != 0 {
		o.forgetBlocks(h.files, i)
	}
	if !o.present.Has(i) {
		return nil
	}
	if err := o.drop(h.files, []int{i}); err != nil {
		return fmt.Errorf("drop chunk %d of %s: %w", i, o.digest, h.outcome(err))
	}
	return nil
}

func (h *handle) Seal(l *chunk.List, s chunk.Seal) error {
	o := h.object
	if err := errors.Join(l.Describes(o.digest, o.size), s.Validate()); err != nil {
		return fmt.Errorf("seal %s: %w", o.digest, err)
	}
	if err := h.check(); err != nil {
		return err
	}
	if err := o.recordSeal(h.files, l, s); err != nil {
		return fmt.Errorf("seal %s: %w", o.digest, h.outcome(err))
	}
	return nil
}

func (h *handle) Sealed() (*chunk.List, chunk.Seal, bool) {
	o := h.object
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.list, o.seal, o.list != nil
}

func (h *handle) File() (*os.File, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	f, err := os.Open(h.object.path)
	if err != nil {
		return nil, fmt.Errorf("open the file of %s: %w", h.object.digest, err)
	}
	return f, nil
}

func (h *handle) Sync() error {
	if err := h.check(); err != nil {
		return err
	}
	return h.object.sync(true)
}

func (h *handle) Close() error {
	if h.closed.Swap(true) {
		return chunk.ErrClosed
	}
	h.object.store.release(h.object)
	return nil
}
