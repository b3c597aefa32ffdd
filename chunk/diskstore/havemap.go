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
//	8n bytes   a mark a chunk: state, 1 zero, holes (2), CRC-32C (4)
//	32b bytes  the digests of all blocks, so chunk i's start at 512i
//
// Integers are big endian. A mark's checksum covers the object's digest, the
// chunk's number, the state, the holes if there are any, and the chunk's block
// digests: a mark says nothing about other sums than those it was written with.
// Holes has a bit for each block that is zeros and takes no room on the disk.
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

// mark is what a have-map says of one chunk.
type mark struct {
	state state
	holes uint16 // blocks of zeros that take no room, a bit each
}

// bytes is what the mark's chunk, i of an object of size bytes, is charged with.
func (m mark) bytes(size int64, i int) int64 {
	if m.state == absent {
		return 0
	}
	return chunk.Length(size, i) - blockBytes(size, i, m.holes)
}

func (m mark) encode(d chunk.Digest, i int, sums []byte) [markSize]byte {
	var b [markSize]byte
	if m.state != absent {
		b[0] = byte(m.state)
		binary.BigEndian.PutUint16(b[2:], m.holes)
		binary.BigEndian.PutUint32(b[4:], m.checksum(d, i, sums))
	}
	return b
}

// decodeMark gives the mark of chunk i; any that does not check is absent.
func decodeMark(b []byte, d chunk.Digest, i int, sums []byte) mark {
	m := claimedMark(b, len(sums)/sumSize)
	if m.state == absent || binary.BigEndian.Uint32(b[4:8]) != m.checksum(d, i, sums) {
		return mark{}
	}
	return m
}

// claimedMark is what the mark of a chunk of so many blocks claims, before the
// sums were read.
func claimedMark(b []byte, blocks int) mark {
	m := mark{state: state(b[0]), holes: binary.BigEndian.Uint16(b[2:])}
	if (m.state != written && m.state != durable) || b[1] != 0 || m.holes>>blocks != 0 {
		return mark{}
	}
	return m
}

func (m mark) checksum(d chunk.Digest, i int, sums []byte) uint32 {
	head := make([]byte, 0, 43)
	head = append(head, d[:]...)
	head = binary.BigEndian.AppendUint64(head, uint64(i))
	head = append(head, byte(m.state))
	if m.holes != 0 {
		head = binary.BigEndian.AppendUint16(head, m.holes)
	}
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, sums)
}

// haveMap is what a have-map file says.
type haveMap struct {
	size  int64
	marks []mark
	sums  []chunk.Sums // nil where the mark is absent
}

// newHaveMap is that of an object of which nothing is present.
func newHaveMap(size int64) *haveMap {
	n := chunk.Count(size)
	return &haveMap{size: size, marks: make([]mark, n), sums: make([]chunk.Sums, n)}
}

// encode gives the whole file.
func (h *haveMap) encode(d chunk.Digest) ([]byte, error) {
	b := make([]byte, haveSize(h.size))
	copy(b, encodeHeader(d, h.size))
	for i, m := range h.marks {
		if m.state == absent {
			continue
		}
		at := sumsOffset(h.size, i)
		raw, err := h.sums[i].AppendBinary(b[at:at])
		if err != nil {
			return nil, err
		}
		encoded := m.encode(d, i, raw)
		copy(b[markOffset(i):], encoded[:])
	}
	return b, nil
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
	h := newHaveMap(size)
	for i := range h.marks {
		first, end := chunk.ChunkBlocks(size, i)
		from, to := sumsOffset(size, i), sumsOffset(size, i)+int64(end-first)*sumSize
		if int64(len(b)) < to {
			break
		}
		raw := b[from:to]
		m := decodeMark(b[markOffset(i):], d, i, raw)
		if m.state == absent {
			continue
		}
		if h.sums[i], err = chunk.ParseSums(raw, chunk.Length(size, i)); err != nil {
			return nil, fmt.Errorf("%w have-map: %w", errDamaged, err)
		}
		h.marks[i] = m
	}
	return h, nil
}
