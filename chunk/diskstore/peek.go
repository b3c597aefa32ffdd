package diskstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/shoal-project/shoal/chunk"
)

// Peeked is a read-only view of one object of a store that another process may
// have open and write at the same time. It takes no lock, writes nothing and
// keeps nothing from eviction (see [Store.Pin]); an object that was evicted can
// be read on from the files that the view holds.
//
// All methods are safe for concurrent use.
type Peeked struct {
	dir    string
	digest chunk.Digest
	size   int64
	path   string
	data   *os.File
	have   *os.File

	mu       sync.Mutex // guards what was read of the seal file
	sealFile os.FileInfo
	list     *chunk.List
	seal     chunk.Seal
}

// Peek opens the view of d in the store in dir. chunk.ErrNotFound if there are
// no files that could be its object.
func Peek(dir string, d chunk.Digest) (*Peeked, error) {
	p := &Peeked{dir: dir, digest: d, path: Path(dir, d)}
	err := p.open()
	if err != nil && isDamage(err) {
		err = fmt.Errorf("%w: %w", chunk.ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("peek at %s: %w", d, err)
	}
	return p, nil
}

// open opens the files of one and the same object: its have-map is the last to
// come and the first to go, so if it still has its name after the content was
// opened, then that belongs to it.
func (p *Peeked) open() (err error) {
	if p.have, err = openPlain(p.path + haveSuffix); err != nil {
		return err
	}
	if p.data, err = openPlain(p.path); err != nil {
		return errors.Join(err, p.have.Close())
	}
	err = p.stillNamed()
	if err == nil {
		p.size, err = p.readHeader()
	}
	if err != nil {
		return errors.Join(err, p.Close())
	}
	return nil
}

// stillNamed is nil if the have-map that is open is the one in the store.
func (p *Peeked) stillNamed() error {
	held, err := p.have.Stat()
	if err != nil {
		return err
	}
	named, err := os.Lstat(p.path + haveSuffix)
	if err == nil && !os.SameFile(held, named) {
		err = os.ErrNotExist
	}
	return err
}

func (p *Peeked) readHeader() (int64, error) {
	b := make([]byte, headerSize)
	if _, err := p.have.ReadAt(b, 0); err != nil && err != io.EOF {
		return 0, err
	}
	return decodeHeader(b, p.digest)
}

// Size is the object's length in bytes.
func (p *Peeked) Size() int64 { return p.size }

// File is the object's file, open for reading until Close. Bytes of chunks that
// are absent are anything.
func (p *Peeked) File() *os.File { return p.data }

// Removed tells whether the store has given the object up since; another one of
// its name takes another Peek.
func (p *Peeked) Removed() bool { return p.stillNamed() != nil }

// Have is which chunks are present now. One that is not durable yet counts only
// while the kernel that took its bytes runs, and one that the seal contradicts
// does not count. A chunk whose bytes prove wrong can be dropped at any time.
func (p *Peeked) Have() *chunk.Bitmap {
	present := chunk.NewBitmap(chunk.Count(p.size))
	h, err := p.readMap()
	if err != nil {
		return present
	}
	accepted := p.acceptance()
	for i := range h.marks {
		if accepted(i, h.marks[i], h.sums[i]) {
			present.Set(i)
		}
	}
	return present
}

// Sums are the block digests of a chunk that is present now; nil for another.
func (p *Peeked) Sums(i int) chunk.Sums {
	if i < 0 || i >= chunk.Count(p.size) {
		return nil
	}
	first, end := chunk.ChunkBlocks(p.size, i)
	raw := make([]byte, sumSize*(end-first))
	var m [markSize]byte
	if _, err := p.have.ReadAt(m[:], markOffset(i)); err != nil {
		return nil
	}
	if _, err := p.have.ReadAt(raw, sumsOffset(p.size, i)); err != nil {
		return nil
	}
	sums, err := chunk.ParseSums(raw, chunk.Length(p.size, i))
	if err != nil || !p.acceptance()(i, decodeMark(m[:], p.digest, i, raw), sums) {
		return nil
	}
	return sums
}

// acceptance tells what is to be believed of a mark that checks.
func (p *Peeked) acceptance() func(i int, m mark, sums chunk.Sums) bool {
	info, err := p.data.Stat()
	if err != nil || info.Size() != p.size {
		return func(int, mark, chunk.Sums) bool { return false }
	}
	list, _, sealed := p.Sealed()
	same := sameBoot(p.dir)
	return func(i int, m mark, sums chunk.Sums) bool {
		sure := m.state == durable || m.state == written && same
		return sure && (!sealed || sums.Digest() == list.Chunks[i])
	}
}

// readMap reads the have-map as it is now. It allocates no more than one of the
// object's size can have.
func (p *Peeked) readMap() (*haveMap, error) {
	info, err := p.have.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, min(info.Size(), haveSize(p.size)))
	n, err := p.have.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	h, err := decodeHaveMap(b[:n], p.digest)
	if err == nil && h.size != p.size {
		err = fmt.Errorf("%w have-map: it changed its size", errDamaged)
	}
	return h, err
}

// Sealed is the object's list and seal; false if there are none. Whether the
// signer is trusted is the caller's question. They are not to be changed.
func (p *Peeked) Sealed() (*chunk.List, chunk.Seal, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	info, err := os.Lstat(p.path + sealSuffix)
	if err == nil && !p.readAlready(info) {
		list, seal, err := readSeal(p.path+sealSuffix, p.digest, p.size)
		if err == nil && list != nil {
			p.sealFile, p.list, p.seal = info, list, seal
		}
	}
	return p.list, p.seal, p.list != nil
}

// readAlready tells whether a seal file is the one that was read. p.mu is held.
func (p *Peeked) readAlready(info os.FileInfo) bool {
	return p.sealFile != nil && os.SameFile(info, p.sealFile) &&
		info.Size() == p.sealFile.Size() && info.ModTime().Equal(p.sealFile.ModTime())
}

// Close closes the files.
func (p *Peeked) Close() error { return errors.Join(p.data.Close(), p.have.Close()) }
