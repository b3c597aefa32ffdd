package diskstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"syscall"

	"github.com/shoal-project/shoal/chunk"
)

// The have-map of an object of n chunks and b blocks (docs/FORMAT.md):
//
//	64 bytes   header: "shoal.hv", version, 7 zero, size (8), digest (32),
//	           4 zero, CRC-32C of the 60 bytes before
//	8n bytes   a mark a chunk: state, 3 zero, CRC-32C (4)
//	32b bytes  the digests of all blocks, so chunk i's start at 512i
//
// Integers are big endian. A mark's checksum covers the object's digest, the
// chunk's number, the state and the chunk's block digests: a mark says nothing
// about other sums than those it was written with.
const (
	haveMagic   = "shoal.hv"
	haveVersion = 1
	headerSize  = 64
	markSize    = 8
	sumSize     = 32
	sumsStride  = chunk.BlocksPerChunk * sumSize
)

// state is how sure a mark is of its chunk.
type state byte

const (
	absent  state = 0
	written state = 1 // given to the kernel: survives a kill
	durable state = 2 // given to the disk: survives a power failure
)

// errDamaged says that a file's content fails its checks; unlike an I/O error,
// it is not going to change.
var errDamaged = errors.New("damaged")

// isDamage tells whether err condemns an object's files: they are not what they
// should be, or the disk cannot read them. Any other failure may pass.
func isDamage(err error) bool {
	return errors.Is(err, errDamaged) || errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EIO)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeHeader(d chunk.Digest, size int64) []byte {
	b := make([]byte, headerSize)
	copy(b, haveMagic)
	b[8] = haveVersion
	binary.BigEndian.PutUint64(b[16:], uint64(size))
	copy(b[24:56], d[:])
	binary.BigEndian.PutUint32(b[60:], crc32.Checksum(b[:60], castagnoli))
	return b
}

// decodeHeader gives the object's size if b is the header of d's have-map.
func decodeHeader(b []byte, d chunk.Digest) (int64, error) {
	if len(b) < headerSize || string(b[:8]) != haveMagic || b[8] != haveVersion {
		return 0, fmt.Errorf("%w have-map: no version %d header", errDamaged, haveVersion)
	}
	if binary.BigEndian.Uint32(b[60:]) != crc32.Checksum(b[:60], castagnoli) {
		return 0, fmt.Errorf("%w have-map: wrong checksum", errDamaged)
	}
	size := binary.BigEndian.Uint64(b[16:])
	if size > chunk.MaxObject || chunk.Digest(b[24:56]) != d {
		return 0, fmt.Errorf("%w have-map: it is of %d bytes of another object", errDamaged, size)
	}
	return int64(size), nil
}

// marksEnd and haveSize are where the marks and the whole have-map end.
func marksEnd(size int64) int64 { return headerSize + markSize*int64(chunk.Count(size)) }
func haveSize(size int64) int64 { return marksEnd(size) + sumSize*int64(chunk.BlockCount(size)) }

func markOffset(i int) int64             { return headerSize + markSize*int64(i) }
func sumsOffset(size int64, i int) int64 { return marksEnd(size) + sumsStride*int64(i) }

func encodeMark(d chunk.Digest, i int, st state, sums []byte) [markSize]byte {
	var m [markSize]byte
	if st != absent {
		m[0] = byte(st)
		binary.BigEndian.PutUint32(m[4:], markSum(d, i, st, sums))
	}
	return m
}

// decodeMark gives the state of chunk i; any mark that does not check is absent.
func decodeMark(m []byte, d chunk.Digest, i int, sums []byte) state {
	st := markState(m)
	if st == absent || binary.BigEndian.Uint32(m[4:8]) != markSum(d, i, st, sums) {
		return absent
	}
	return st
}

// markState is what a mark claims, before the sums were read.
func markState(m []byte) state {
	st := state(m[0])
	if (st != written && st != durable) || m[1]|m[2]|m[3] != 0 {
		return absent
	}
	return st
}

func markSum(d chunk.Digest, i int, st state, sums []byte) uint32 {
	var head [41]byte
	copy(head[:], d[:])
	binary.BigEndian.PutUint64(head[32:], uint64(i))
	head[40] = byte(st)
	return crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, sums)
}

// haveMap is what a have-map file says.
type haveMap struct {
	size   int64
	states []state
	sums   []chunk.Sums // nil where the state is absent
}

// decodeHaveMap reads d's have-map. What is missing at its end, as after a power
// failure, counts as absent chunks.
func decodeHaveMap(b []byte, d chunk.Digest) (*haveMap, error) {
	size, err := decodeHeader(b, d)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > haveSize(size) {
		return nil, fmt.Errorf("%w have-map: %d bytes for an object of %d", errDamaged, len(b), size)
	}
	n := chunk.Count(size)
	h := &haveMap{size: size, states: make([]state, n), sums: make([]chunk.Sums, n)}
	for i := range n {
		first, end := chunk.ChunkBlocks(size, i)
		from, to := sumsOffset(size, i), sumsOffset(size, i)+int64(end-first)*sumSize
		if int64(len(b)) < to {
			break
		}
		raw := b[from:to]
		st := decodeMark(b[markOffset(i):], d, i, raw)
		if st == absent {
			continue
		}
		if h.sums[i], err = chunk.ParseSums(raw, chunk.Length(size, i)); err != nil {
			return nil, fmt.Errorf("%w have-map: %w", errDamaged, err)
		}
		h.states[i] = st
	}
	return h, nil
}
