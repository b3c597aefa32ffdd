package diskstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// ingest implements chunk.Ingest: a temporary file in the store's directory
// that becomes an object's file at Commit.
type ingest struct {
	store *Store
	size  int64

	// mu is for Close, which may end an ingest that somebody still writes.
	mu       sync.Mutex
	ended    bool
	digester *chunk.Digester
	file     *os.File // nil once it is an object's
	name     string   // of the temporary file
	charged  int64
	begun    int // chunks whose first byte was written, or tried
}

// Ingest implements chunk.Store.
func (s *Store) Ingest(size int64) (chunk.Ingest, error) {
	if size < 0 || size > chunk.MaxObject {
		return nil, fmt.Errorf("ingest %d bytes: %w", size, chunk.ErrSize)
	}
	f, err := os.CreateTemp(s.dir, "ingest-*"+tempSuffix)
	if err != nil {
		return nil, fmt.Errorf("ingest: %w", diskError(err))
	}
	in := &ingest{store: s, size: size, file: f, name: f.Name()}
	in.digester = chunk.NewDigester(size, in.block)
	s.mu.Lock()
	closed := s.closed.Load()
	if !closed {
		s.ingests[in] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		return nil, errors.Join(chunk.ErrClosed, f.Close(), removeFile(f.Name()))
	}
	return in, nil
}

// check tells whether the ingest still works. in.mu is held.
func (in *ingest) check() error {
	if in.ended || in.store.closed.Load() {
		return chunk.ErrClosed
	}
	return nil
}

func (in *ingest) Write(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.check(); err != nil {
		return 0, err
	}
	n, err := in.digester.Write(p)
	if err != nil {
		return n, fmt.Errorf("ingest: %w", err)
	}
	return n, nil
}

// block writes one block; one of zeros stays a hole. in.mu is held.
func (in *ingest) block(b int, data []byte, zero bool) error {
	if zero {
		return nil
	}
	s, n := in.store, int64(len(data))
	first := b/chunk.BlocksPerChunk >= in.begun
	in.begun = b/chunk.BlocksPerChunk + 1
	if err := s.reserve(n, first); err != nil {
		return err
	}
	in.charged += n
	at := int64(b) * chunk.BlockSize
	_, err := in.file.WriteAt(data, at)
	if noRoom(err) && s.afterNoRoom() {
		_, err = in.file.WriteAt(data, at)
	}
	return diskError(err)
}

func (in *ingest) Commit() (chunk.Object, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if err := in.check(); err != nil {
		return nil, err
	}
	h, err := in.commit()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("ingest: %w", err), in.end())
	}
	if err := in.end(); err != nil {
		in.store.log.Warn("removing an ingest's file", "file", in.name, "error", err)
	}
	return h, nil
}

// commit makes the file an object's, or gives what the store's own object lacks
// to that. in.mu is held.
func (in *ingest) commit() (*handle, error) {
	d, sums, err := in.digester.Finish()
	if err != nil {
		return nil, err
	}
	if err := in.file.Truncate(in.size); err != nil { // it may end in a hole
		return nil, diskError(err)
	}
	h, err := in.store.create(d, in.size, func(o *object) (*files, error) { return o.loadFrom(in, sums) })
	if err != nil || in.file == nil {
		return h, err
	}
	if err := in.complete(h, sums); err != nil {
		return nil, errors.Join(fmt.Errorf("complete %s: %w", d, err), h.Close())
	}
	return h, nil
}

// Abort implements chunk.Ingest.
func (in *ingest) Abort() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ended {
		return nil
	}
	return in.end()
}

// end forgets the ingest, and what of it did not become an object. in.mu is
// held.
func (in *ingest) end() error {
	in.ended = true
	s := in.store
	s.mu.Lock()
	delete(s.ingests, in)
	s.mu.Unlock()
	s.charge(-in.charged)
	in.charged = 0
	if in.file == nil {
		return nil
	}
	f := in.file
	in.file = nil
	return errors.Join(f.Close(), removeFile(in.name))
}

// loadFrom is load, but that a new object takes in's file for its own.
func (o *object) loadFrom(in *ingest, sums []chunk.Sums) (*files, error) {
	o.life.Lock()
	if o.damaged || !o.fresh || o.size != in.size {
		o.life.Unlock()
		return o.load()
	}
	defer o.life.Unlock()
	if o.store.closed.Load() {
		return nil, chunk.ErrClosed
	}
	if err := o.takeFile(in, sums); err != nil {
		o.damaged = true // and to leave nothing behind
		return nil, err
	}
	o.fresh = false
	o.noteUse(time.Now())
	return o.files, nil
}

// takeFile makes o's files out of in. The content has its name before the
// have-map does, as that of every new object. o.life and in.mu are held.
func (o *object) takeFile(in *ingest, sums []chunk.Sums) error {
	h := newHaveMap(o.size)
	h.sums = sums
	for i := range h.marks {
		h.marks[i] = mark{state: written, holes: sums[i].Zeros(chunk.Length(o.size, i))}
	}
	raw, err := h.encode(o.digest)
	if err != nil {
		return err
	}
	if err := inFan(o.path, func() error { return os.Rename(in.name, o.path) }); err != nil {
		return diskError(err)
	}
	have, err := createIn(o.path + haveSuffix)
	if err != nil {
		return diskError(err)
	}
	if _, err := have.WriteAt(raw, 0); err != nil {
		return errors.Join(diskError(err), have.Close())
	}
	o.mu.Lock()
	o.bytes, in.charged = in.charged, 0
	o.mu.Unlock()
	o.adopt(&files{data: in.file, have: have}, h)
	in.file = nil
	return nil
}

// complete gives h's object the chunks that it lacks, or has wrong: the name
// proves those of the ingest.
func (in *ingest) complete(h *handle, sums []chunk.Sums) error {
	if list, _, sealed := h.Sealed(); sealed {
		for i := range sums {
			if sums[i].Digest() != list.Chunks[i] {
				return fmt.Errorf("%w: chunk %d is not that of the sealed list", chunk.ErrCorrupt, i)
			}
		}
	}
	for i := range sums {
		if err := in.completeChunk(h, i, sums[i]); err != nil {
			return fmt.Errorf("chunk %d: %w", i, err)
		}
	}
	return nil
}

// completeChunk gives h's object chunk i unless it has that already. The
// ingest's room for it goes first, so that it is never counted twice.
func (in *ingest) completeChunk(h *handle, i int, sums chunk.Sums) error {
	// An absent chunk is not dropped: what others have written of it would be
	// forgotten under their hands.
	if here := h.Sums(i); slices.Equal(here, sums) {
		return nil
	} else if here != nil {
		if err := h.Drop(i); err != nil {
			return err
		}
	}
	data := make([]byte, chunk.Length(in.size, i))
	if _, err := in.file.ReadAt(data, int64(i)*chunk.Size); err != nil && err != io.EOF {
		return err
	}
	holes := sums.Zeros(int64(len(data)))
	room := int64(len(data)) - blockBytes(in.size, i, holes)
	in.charged -= room
	in.store.charge(-room)
	if err := punch(in.file, int64(i)*chunk.Size, int64(len(data))); err != nil {
		in.store.log.Debug("giving a chunk's space back", "file", in.name, "chunk", i, "error", err)
	}
	for b := range sums {
		if holes>>b&1 != 0 {
			continue
		}
		from := b * chunk.BlockSize
		block := data[from:min(from+chunk.BlockSize, len(data))]
		if _, err := h.WriteAt(block, int64(i)*chunk.Size+int64(from)); err != nil && !errors.Is(err, chunk.ErrPresent) {
			return err
		}
	}
	if err := h.Put(i, sums); err != nil {
		return err
	}
	if !slices.Equal(h.Sums(i), sums) {
		return fmt.Errorf("%w: another writer put other bytes", chunk.ErrCorrupt)
	}
	return nil
}
