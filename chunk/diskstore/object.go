package diskstore

import (
	"errors"
	"math/bits"
	"os"
	"sync"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/persist"
)

// object is one object of the table, loaded (its files open and its have-map in
// memory) while it is in use or has something to sync.
type object struct {
	store  *Store
	digest chunk.Digest
	size   int64
	path   string
	gone   chan struct{} // closed when it has left the table and the disk

	// Store.mu guards these.
	handles  int
	used     time.Time
	removing bool // nobody may acquire it any more

	// life is held while the files are opened and checked, closed, or removed.
	life    sync.Mutex
	fresh   bool   // no files were made yet
	damaged bool   // its files failed their checks: to be removed
	named   bool   // its names are durable, as far as this process knows
	files   *files // nil while not loaded

	sealMu sync.Mutex // one seal is written at a time, without mu

	// mu guards these. Those from list on mean something only while it is loaded;
	// but what was touched stays so, and charged, if it is pinned.
	mu      sync.Mutex
	bytes   int64 // charged
	count   int   // present chunks, also while not loaded
	sealed  bool  // also while not loaded
	list    *chunk.List
	seal    chunk.Seal
	present *chunk.Bitmap
	sums    []chunk.Sums
	touched []uint16 // blocks written of chunks not present, a bit each
	holes   []uint16 // blocks of zeros of present chunks, a bit each
	pending []int    // chunks put and not durable, in the order of Put
	drops   uint64   // counts chunks dropped
}

// files are an object's open files. They may be used without a lock; an
// operation on closed ones fails.
type files struct {
	data *os.File
	have *os.File
}

func (f *files) close() error { return errors.Join(f.data.Close(), f.have.Close()) }

func newObject(s *Store, d chunk.Digest, size int64) *object {
	return &object{store: s, digest: d, size: size, path: Path(s.dir, d), gone: make(chan struct{})}
}

// info describes o. Store.mu is held.
func (o *object) info() chunk.Info {
	o.mu.Lock()
	defer o.mu.Unlock()
	return chunk.Info{
		Digest: o.digest, Size: o.size, Present: o.count,
		Sealed: o.sealed, InUse: o.handles > 0, Used: o.used,
	}
}

// adjust changes what o is charged with. o.mu is held.
func (o *object) adjust(n int64) {
	o.bytes += n
	o.store.charge(n)
}

// blockBytes is the length of the blocks in mask of chunk i.
func (o *object) blockBytes(i int, mask uint16) int64 { return blockBytes(o.size, i, mask) }

// blockBytes is the length of the blocks in mask of chunk i of an object of
// size bytes.
func blockBytes(size int64, i int, mask uint16) (n int64) {
	for ; mask != 0; mask &= mask - 1 {
		n += chunk.BlockLength(size, i*chunk.BlocksPerChunk+bits.TrailingZeros16(mask))
	}
	return n
}

// blockMask has a bit for each block that n bytes at offset at of a chunk touch.
func blockMask(at, n int64) uint16 {
	first, last := at/chunk.BlockSize, (at+n-1)/chunk.BlockSize
	return uint16(1<<(last+1) - 1<<first)
}

// writeZeros writes n zeros at off.
func writeZeros(f *os.File, off, n int64) error {
	zeros := make([]byte, min(n, chunk.BlockSize))
	for ; n > 0; off, n = off+int64(len(zeros)), n-int64(len(zeros)) {
		zeros = zeros[:min(n, int64(len(zeros)))]
		if _, err := f.WriteAt(zeros, off); err != nil {
			return err
		}
	}
	return nil
}

// settle lets go of what o needs only while in use, when nobody uses it: bytes
// that were never put, unless it is pinned, and the files once nothing waits for a
// sync.
func (o *object) settle() {
	o.life.Lock()
	s := o.store
	s.mu.Lock()
	idle := o.handles == 0 && !o.removing && !s.closed.Load()
	damaged := idle && o.damaged
	pinned := s.pinned.has(o.digest)
	o.removing = o.removing || damaged
	s.mu.Unlock()
	if damaged {
		o.life.Unlock()
		_, _ = o.discard() // it logs what fails
		return
	}
	defer o.life.Unlock()
	if !idle || o.files == nil {
		return
	}
	o.mu.Lock()
	if !pinned { // its readers may have been told of blocks of chunks that are not whole
		o.forgetUnput()
	}
	busy := len(o.pending) > 0
	o.mu.Unlock()
	if !busy {
		o.unload()
	}
}

// unload closes the files and frees the have-map. o.life is held.
func (o *object) unload() {
	if err := o.files.close(); err != nil {
		o.store.log.Warn("closing an object's files", "object", o.digest, "error", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.files, o.present, o.sums, o.holes, o.pending, o.list = nil, nil, nil, nil, nil, nil
}

// forgetUnput gives back what was written and never put. o.mu is held.
func (o *object) forgetUnput() {
	for i, mask := range o.touched {
		if mask != 0 {
			o.forgetBlocks(o.files, i)
		}
	}
}

// forgetBlocks gives back what was written of the absent chunk i. o.mu is held.
func (o *object) forgetBlocks(f *files, i int) {
	o.adjust(-o.blockBytes(i, o.touched[i]))
	o.touched[i] = 0
	o.punch(f, i)
}

// punch gives chunk i's space back to the disk. What is pinned may be read in place
// by another process, which was told that the bytes are here: they stay until the
// right ones are written over them, or it would see zeros.
func (o *object) punch(f *files, i int) {
	if o.store.pinned.has(o.digest) {
		return
	}
	if err := punch(f.data, int64(i)*chunk.Size, chunk.Length(o.size, i)); err != nil {
		o.store.log.Debug("giving a chunk's space back", "object", o.digest, "chunk", i, "error", err)
	}
}

// drop forgets present chunks, durably: only then may other bytes take their
// place, or a power failure could show the old mark over them. o.mu is held.
func (o *object) drop(f *files, chunks []int) error {
	if len(chunks) == 0 {
		return nil
	}
	var none [markSize]byte
	for _, i := range chunks {
		if _, err := f.have.WriteAt(none[:], markOffset(i)); err != nil {
			return err
		}
	}
	if err := syncData(f.have); err != nil {
		return err
	}
	for _, i := range chunks {
		o.present.Clear(i)
		o.sums[i] = nil
		o.drops++
		o.adjust(o.blockBytes(i, o.holes[i]) - chunk.Length(o.size, i))
		o.holes[i] = 0
		o.punch(f, i)
	}
	o.count = o.present.Count()
	return nil
}

// discard removes o, which is marked so, from the disk and then from the table,
// and returns the bytes that it was charged with. The have-map goes first and
// durably: an old one must never lie beside a new object's bytes.
func (o *object) discard() (int64, error) {
	o.life.Lock()
	defer o.life.Unlock()
	s := o.store
	if o.files != nil {
		s.settled(o)
		o.unload()
	}
	err := removeFile(o.path + haveSuffix)
	if err == nil {
		err = persist.SyncDir(parentDir(o.path))
	}
	if errors.Is(err, os.ErrNotExist) {
		err = nil // not even the directory could be made
	}
	err = errors.Join(err, removeFile(o.path), removeFile(o.path+sealSuffix))

	o.mu.Lock()
	freed := o.bytes
	o.adjust(-freed)
	o.count, o.sealed = 0, false
	o.mu.Unlock()
	s.mu.Lock()
	delete(s.objects, o.digest)
	s.metrics.objects.Set(float64(len(s.objects)))
	s.mu.Unlock()
	close(o.gone)
	if err != nil {
		s.log.Error("removing an object's files", "object", o.digest, "error", err)
	}
	return freed, err
}

// removeFile removes a file that may be gone already.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// shut makes what was put durable and closes the files, whoever still has
// handles.
func (o *object) shut() error {
	err := o.sync(true)
	o.life.Lock()
	defer o.life.Unlock()
	if o.files == nil {
		return err
	}
	err = errors.Join(err, o.files.close())
	// The sync wrote marks, and so moved the time that tells the last use.
	o.store.mu.Lock()
	used := o.used
	o.store.mu.Unlock()
	o.noteUse(used)
	return err
}

// noteUse keeps the time of the last use as that of the have-map: it is how the
// order of eviction survives a restart.
func (o *object) noteUse(used time.Time) {
	if err := os.Chtimes(o.path+haveSuffix, used, used); err != nil {
		o.store.log.Debug("noting an object's use", "object", o.digest, "error", err)
	}
}
