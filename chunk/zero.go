package chunk

import (
	"bytes"
	"crypto/sha256"
	"sync"
)

// zeroPiece is how many zeros are digested or compared at a time.
const zeroPiece = 4096

// zeroBlock is the digest of a whole block of zeros.
var zeroBlock = sync.OnceValue(func() Digest { return sumZeros(BlockSize) })

// ZeroSum is the digest of length zeros: at once for a whole block, and meant
// for the lengths of blocks otherwise.
func ZeroSum(length int64) Digest {
	if length == BlockSize {
		return zeroBlock()
	}
	return sumZeros(length)
}

func sumZeros(length int64) Digest {
	var zeros [zeroPiece]byte
	h := sha256.New()
	for ; length > 0; length -= zeroPiece {
		h.Write(zeros[:min(length, zeroPiece)])
	}
	return Digest(h.Sum(nil))
}

// IsZero tells whether p has nothing but zeros.
func IsZero(p []byte) bool {
	var zeros [zeroPiece]byte
	for len(p) > 0 {
		n := min(len(p), zeroPiece)
		if !bytes.Equal(p[:n], zeros[:n]) {
			return false
		}
		p = p[n:]
	}
	return true
}

// Zeros has a bit for each block of a chunk of length bytes that is zeros by
// its digest.
func (s Sums) Zeros(length int64) (mask uint16) {
	for b := range min(len(s), BlockCount(length)) {
		if s[b] == ZeroSum(BlockLength(length, b)) {
			mask |= 1 << b
		}
	}
	return mask
}
