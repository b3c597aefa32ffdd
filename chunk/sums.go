package chunk

import (
	"crypto/sha256"
	"errors"
	"fmt"
)

// Sums are the digests of one chunk's blocks, in order: 1 to [BlocksPerChunk].
type Sums []Digest

// ErrCorrupt says that bytes are not those that a digest promised.
var ErrCorrupt = errors.New("content does not match its digest")

// SumBlocks digests one chunk's bytes block by block.
func SumBlocks(data []byte) Sums {
	sums := make(Sums, 0, BlockCount(int64(len(data))))
	for len(data) > 0 {
		n := min(len(data), BlockSize)
		sums = append(sums, sha256.Sum256(data[:n]))
		data = data[n:]
	}
	return sums
}

// Digest is the chunk's digest: the SHA-256 over the sums' bytes.
func (s Sums) Digest() Digest {
	h := sha256.New()
	for i := range s {
		h.Write(s[i][:])
	}
	return Digest(h.Sum(nil))
}

// AppendBinary appends the sums' bytes, 32 a block.
func (s Sums) AppendBinary(b []byte) ([]byte, error) {
	for i := range s {
		b = append(b, s[i][:]...)
	}
	return b, nil
}

// ParseSums reads the bytes of [Sums.AppendBinary] for a chunk of length bytes.
func ParseSums(p []byte, length int64) (Sums, error) {
	if length <= 0 || length > Size || len(p) != BlockCount(length)*sha256.Size {
		return nil, fmt.Errorf("%w: %d bytes of block digests for a chunk of %d bytes", ErrCorrupt, len(p), length)
	}
	sums := make(Sums, BlockCount(length))
	for i := range sums {
		copy(sums[i][:], p[i*sha256.Size:])
	}
	return sums, nil
}
