package chunk_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

func TestSums(t *testing.T) {
	data := bytes.Repeat([]byte("shoal"), chunk.BlockSize/2)
	sums := chunk.SumBlocks(data)
	if len(sums) != 3 || sums[2] != chunk.SumBytes(data[2*chunk.BlockSize:]) {
		t.Fatalf("%d bytes have %d sums", len(data), len(sums))
	}
	b, err := sums.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	if sums.Digest() != sha256.Sum256(b) {
		t.Error("the chunk's digest is not that of its sums' bytes")
	}
	if len(chunk.SumBlocks(nil)) != 0 {
		t.Error("no bytes have sums")
	}
	for _, length := range []int64{-1, 0, chunk.BlockSize, 2 * chunk.BlockSize, 3*chunk.BlockSize + 1, chunk.Size + 1, 1<<63 - 1} {
		if _, err := chunk.ParseSums(b, length); !errors.Is(err, chunk.ErrCorrupt) {
			t.Errorf("3 sums for %d bytes: error %v", length, err)
		}
	}
}

func FuzzParseSums(f *testing.F) {
	f.Add(make([]byte, 64), int64(chunk.BlockSize+1))
	f.Add(make([]byte, 512), int64(chunk.Size))
	f.Add([]byte{}, int64(0))
	f.Add([]byte{}, int64(-chunk.Size))
	f.Fuzz(func(t *testing.T, p []byte, length int64) {
		sums, err := chunk.ParseSums(p, length)
		if err != nil {
			return
		}
		b, err := sums.AppendBinary(nil)
		if err != nil || !bytes.Equal(b, p) || len(sums) < 1 || len(sums) > chunk.BlocksPerChunk {
			t.Errorf("%x for %d bytes reads back as %x", p, length, b)
		}
	})
}
