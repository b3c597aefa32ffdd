package chunk

import (
	"crypto/sha256"
	"fmt"
	"hash"
)

// Digester digests an object of a known size as its bytes come, in order: the
// whole, and each block. It is not safe for concurrent use.
type Digester struct {
	size  int64
	taken int64
	store func(block int, data []byte, zero bool) error
	whole hash.Hash
	held  []byte // the beginning of a block that is not complete yet
	sums  []Sums
	err   error
}

// NewDigester gives store each block once, when it is complete; the data is the
// digester's or its caller's, and zero tells that it is all zeros.
func NewDigester(size int64, store func(block int, data []byte, zero bool) error) *Digester {
	return &Digester{size: size, store: store, whole: sha256.New()}
}

// Write takes the next bytes: ErrSize, and none taken, if they are more than
// the object has. An error of store stays.
func (d *Digester) Write(p []byte) (int, error) {
	if d.err != nil {
		return 0, d.err
	}
	if int64(len(p)) > d.size-d.taken {
		return 0, fmt.Errorf("%w: %d bytes at %d of %d", ErrSize, len(p), d.taken, d.size)
	}
	done := 0
	for done < len(p) && d.err == nil {
		done += d.take(p[done:])
	}
	if d.err != nil {
		return 0, d.err
	}
	return done, nil
}

// take takes as much of p as lies in one block, without a copy if that is all
// of the block.
func (d *Digester) take(p []byte) int {
	block := int(d.taken / BlockSize)
	length := int(BlockLength(d.size, block))
	n := min(len(p), length-len(d.held))
	if n == length {
		d.block(block, p[:n])
	} else {
		if d.held == nil {
			d.held = make([]byte, 0, length)
		}
		d.held = append(d.held, p[:n]...)
		if len(d.held) == length {
			d.block(block, d.held)
			d.held = d.held[:0]
		}
	}
	d.taken += int64(n)
	return n
}

func (d *Digester) block(b int, data []byte) {
	zero := IsZero(data)
	if d.err = d.store(b, data, zero); d.err != nil {
		return
	}
	d.whole.Write(data)
	if b%BlocksPerChunk == 0 {
		d.sums = append(d.sums, make(Sums, 0, BlockCount(Length(d.size, b/BlocksPerChunk))))
	}
	last := len(d.sums) - 1
	if zero {
		d.sums[last] = append(d.sums[last], ZeroSum(int64(len(data))))
	} else {
		d.sums[last] = append(d.sums[last], SumBytes(data))
	}
}

// Finish is the object's name and its chunks' sums: ErrSize if bytes are
// missing.
func (d *Digester) Finish() (Digest, []Sums, error) {
	if d.err != nil {
		return Digest{}, nil, d.err
	}
	if d.taken != d.size {
		return Digest{}, nil, fmt.Errorf("%w: %d bytes of %d", ErrSize, d.taken, d.size)
	}
	return Digest(d.whole.Sum(nil)), d.sums, nil
}
