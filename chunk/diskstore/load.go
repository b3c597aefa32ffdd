package diskstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// load gives o's files, opened, and their have-map read and checked, if they are
// not open yet. errDamaged says that the object is to be taken for absent.
func (o *object) load() (*files, error) {
	o.life.Lock()
	defer o.life.Unlock()
	if o.damaged {
		return nil, errDamaged
	}
	if o.files == nil {
		if err := o.openFiles(); err != nil {
			return nil, err
		}
	}
	o.noteUse(time.Now())
	return o.files, nil
}

// openFiles makes or reads the files. o.life is held.
func (o *object) openFiles() error {
	if o.store.closed.Load() {
		return chunk.ErrClosed
	}
	made := o.fresh
	var err error
	if made {
		err = o.makeFiles()
	} else {
		err = o.readFiles()
	}
	switch {
	case err == nil:
		o.fresh = false
	case made, isDamage(err):
		// What could not be made is to leave nothing behind either.
		o.damaged = true
	}
	if o.damaged && !made {
		o.store.metrics.damaged.Inc()
		o.store.log.Warn("removing an object whose files are damaged; it will be fetched again", "object", o.digest, "error", err)
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

// makeFiles makes a new object's files.
func (o *object) makeFiles() error {
	data, err := createIn(o.path)
	if err != nil {
		return diskError(err)
	}
	have, err := createIn(o.path + haveSuffix)
	if err != nil {
		return errors.Join(diskError(err), data.Close())
	}
	f := &files{data: data, have: have}
	err = data.Truncate(o.size)
	if err == nil {
		err = have.Truncate(haveSize(o.size))
	}
	if err == nil {
		_, err = have.WriteAt(encodeHeader(o.digest, o.size), 0)
	}
	if err != nil {
		return errors.Join(diskError(err), f.close())
	}
	o.adopt(f, newHaveMap(o.size))
	return nil
}

// readFiles opens what an earlier life left and believes what checks.
func (o *object) readFiles() error {
	have, raw, err := openHave(o.path + haveSuffix)
	if err != nil {
		return err
	}
	h, err := decodeHaveMap(raw, o.digest)
	if err == nil && h.size != o.size {
		err = fmt.Errorf("%w have-map: it changed its size", errDamaged)
	}
	if err != nil {
		return errors.Join(err, have.Close())
	}
	data, err := os.OpenFile(o.path, os.O_RDWR, 0)
	if err != nil {
		return errors.Join(err, have.Close())
	}
	f := &files{data: data, have: have}
	list, seal, err := o.readSeal()
	if err == nil {
		err = o.check(f, h, raw, list)
	}
	if err != nil {
		return errors.Join(err, f.close())
	}
	o.adopt(f, h)
	o.mu.Lock()
	o.list, o.seal, o.sealed = list, seal, list != nil
	o.mu.Unlock()
	return nil
}

// openHave opens and reads a have-map.
func openHave(path string) (*os.File, []byte, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, haveSize(chunk.MaxObject)+1))
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, raw, nil
}

// readSeal reads the seal; a damaged one is removed.
func (o *object) readSeal() (*chunk.List, chunk.Seal, error) {
	list, seal, err := readSeal(o.path+sealSuffix, o.digest, o.size)
	if errors.Is(err, errDamaged) {
		o.store.log.Warn("removing a damaged seal", "object", o.digest, "error", err)
		return nil, chunk.Seal{}, removeFile(o.path + sealSuffix)
	}
	return list, seal, err
}

// check takes out of h what the data or the seal do not bear out, and mends the
// files' lengths. raw is what h was read from.
func (o *object) check(f *files, h *haveMap, raw []byte, list *chunk.List) error {
	info, err := f.data.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > o.size {
		return fmt.Errorf("%w data file: %d bytes for an object of %d", errDamaged, info.Size(), o.size)
	}
	shrunk := info.Size() < o.size
	var unsure []int
	for i, m := range h.marks {
		switch {
		case m.state == absent:
		case list != nil && h.sums[i].Digest() != list.Chunks[i]:
			h.marks[i] = mark{}
		case m.state == written || shrunk:
			h.marks[i].state = written
			unsure = append(unsure, i)
		}
	}
	if err := errors.Join(f.data.Truncate(o.size), f.have.Truncate(haveSize(o.size))); err != nil {
		return diskError(err)
	}
	if err := o.verify(f, h, unsure); err != nil {
		return err
	}
	return o.eraseLost(f, h, raw)
}

// verify hashes the chunks that are in doubt and forgets those that are wrong.
func (o *object) verify(f *files, h *haveMap, unsure []int) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	var wrong atomic.Int64
	for range min(len(unsure), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			buf := make([]byte, chunk.BlockSize)
			for n := next.Add(1) - 1; int(n) < len(unsure) && !o.store.closed.Load(); n = next.Add(1) - 1 {
				i := unsure[n]
				if !chunkMatches(f.data, o.size, i, h.sums[i], buf) {
					h.marks[i] = mark{}
					wrong.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if o.store.closed.Load() {
		return chunk.ErrClosed
	}
	lost := wrong.Load()
	o.store.metrics.rechecked.WithLabelValues("kept").Add(float64(int64(len(unsure)) - lost))
	o.store.metrics.rechecked.WithLabelValues("lost").Add(float64(lost))
	if len(unsure) > 0 {
		o.store.log.Info("checked what a crash left in doubt", "object", o.digest, "chunks", len(unsure), "lost", lost)
	}
	return nil
}

// chunkMatches tells whether chunk i's bytes are those of its sums.
func chunkMatches(data io.ReaderAt, size int64, i int, sums chunk.Sums, buf []byte) bool {
	first, end := chunk.ChunkBlocks(size, i)
	for b := first; b < end; b++ {
		block := buf[:chunk.BlockLength(size, b)]
		if _, err := data.ReadAt(block, int64(b)*chunk.BlockSize); err != nil && err != io.EOF {
			return false
		}
		if chunk.SumBytes(block) != sums[b-first] {
			return false
		}
	}
	return true
}

// eraseLost takes away, durably, the marks of chunks that are absent after all.
// A stale mark must not come to life when its chunk's sums are written again.
func (o *object) eraseLost(f *files, h *haveMap, raw []byte) error {
	erased := false
	var none [markSize]byte
	for i, m := range h.marks {
		at := markOffset(i)
		if m.state != absent || at+markSize > int64(len(raw)) || [markSize]byte(raw[at:]) == none {
			continue
		}
		if _, err := f.have.WriteAt(none[:], at); err != nil {
			return diskError(err)
		}
		h.sums[i] = nil
		erased = true
		o.punch(f, i)
	}
	if !erased {
		return nil
	}
	return syncData(f.have)
}

// adopt takes h for the truth and corrects what o is charged with. Chunks that
// are not durable yet go to the next sync.
func (o *object) adopt(f *files, h *haveMap) {
	n := len(h.marks)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files = f
	o.present, o.sums, o.pending = chunk.NewBitmap(n), h.sums, nil
	o.holes = make([]uint16, n)
	if len(o.touched) != n {
		o.touched = make([]uint16, n)
	}
	var bytes int64
	for i, m := range h.marks {
		if m.state == absent {
			bytes += o.blockBytes(i, o.touched[i])
			continue
		}
		o.touched[i] = 0
		o.present.Set(i)
		o.holes[i] = m.holes
		bytes += m.bytes(o.size, i)
		if m.state == written {
			o.await(i)
		}
	}
	o.count = o.present.Count()
	o.adjust(bytes - o.bytes)
}

// diskError is err, as chunk.ErrFull if the disk has no room.
func diskError(err error) error {
	if noRoom(err) {
		return fmt.Errorf("%w: %w", chunk.ErrFull, err)
	}
	return err
}
