package layer

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
)

// fileTable has the distinct files of one layer that have bytes in objects, in
// the order of their first appearance: 44 bytes each and an index of at most 11.
// It lies outside of the collected heap, where a million files would cost twice
// their size. Entries point into it by number, so that places may change until
// the map's end.
type fileTable struct {
	n     int
	slabs [][]byte // slabFiles records each
	index []uint32 // open addressing; a file's number + 1, or 0
	seed  maphash.Seed
}

const (
	fileRecord = 44 // SHA-256 32, object 4, offset 4, size 4 (of a large file 0)
	slabFiles  = 1 << 14
)

// place is a record without its digest.
type place struct{ object, offset, size uint32 }

func newFileTable() *fileTable {
	// The seed keeps a layer from choosing digests that share a slot.
	return &fileTable{index: make([]uint32, 1<<8), seed: maphash.MakeSeed()}
}

func (t *fileTable) record(i int) []byte {
	at := i % slabFiles * fileRecord
	return t.slabs[i/slabFiles][at : at+fileRecord]
}

func (t *fileTable) digest(i int) chunk.Digest { return chunk.Digest(t.record(i)[:32]) }

func (t *fileTable) place(i int) place {
	r := t.record(i)
	return place{binary.BigEndian.Uint32(r[32:]), binary.BigEndian.Uint32(r[36:]), binary.BigEndian.Uint32(r[40:])}
}

func (t *fileTable) setPlace(i int, p place) {
	r := t.record(i)
	binary.BigEndian.PutUint32(r[32:], p.object)
	binary.BigEndian.PutUint32(r[36:], p.offset)
	binary.BigEndian.PutUint32(r[40:], p.size)
}

// slot is where d is in the index, or the free slot where it belongs.
func (t *fileTable) slot(d *chunk.Digest) int {
	mask := len(t.index) - 1
	for s := int(maphash.Bytes(t.seed, d[:])) & mask; ; s = (s + 1) & mask {
		if n := t.index[s]; n == 0 || chunk.Digest(t.record(int(n - 1))[:32]) == *d {
			return s
		}
	}
}

func (t *fileTable) find(d chunk.Digest) (i int, ok bool) {
	n := t.index[t.slot(&d)]
	return int(n) - 1, n != 0
}

// add appends a file that find did not find.
func (t *fileTable) add(d chunk.Digest, p place) (int, error) {
	if t.n/slabFiles == len(t.slabs) {
		slab, err := unix.Mmap(-1, 0, slabFiles*fileRecord, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			return 0, fmt.Errorf("make room for %d files: %w", t.n+slabFiles, err)
		}
		t.slabs = append(t.slabs, slab)
	}
	if 4*(t.n+1) > 3*len(t.index) {
		t.grow()
	}
	i := t.n
	copy(t.record(i), d[:])
	t.setPlace(i, p)
	t.index[t.slot(&d)] = uint32(i + 1)
	t.n++
	return i, nil
}

func (t *fileTable) grow() {
	t.index = make([]uint32, 2*len(t.index))
	for i := range t.n {
		d := t.digest(i)
		t.index[t.slot(&d)] = uint32(i + 1)
	}
}

func (t *fileTable) close() error {
	for _, slab := range t.slabs {
		if err := unix.Munmap(slab); err != nil {
			return fmt.Errorf("give back the table of files: %w", err)
		}
	}
	t.slabs, t.n = nil, 0
	return nil
}
