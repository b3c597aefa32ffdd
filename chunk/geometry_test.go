package chunk_test

import (
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

func TestGeometry(t *testing.T) {
	for _, size := range []int64{0, 1, chunk.BlockSize, chunk.BlockSize + 1, chunk.Size - 1, chunk.Size, chunk.Size + 1, 5*chunk.Size + 3, chunk.MaxObject} {
		var bytes int64
		blocks := 0
		for i := range chunk.Count(size) {
			length := chunk.Length(size, i)
			if length <= 0 || length > chunk.Size {
				t.Fatalf("chunk %d of %d bytes has %d", i, size, length)
			}
			bytes += length
			first, end := chunk.ChunkBlocks(size, i)
			if first != blocks || end-first != chunk.BlockCount(length) {
				t.Fatalf("chunk %d of %d bytes has blocks %d to %d", i, size, first, end)
			}
			blocks = end
		}
		if bytes != size || blocks != chunk.BlockCount(size) {
			t.Errorf("%d bytes are cut into chunks of %d bytes and %d blocks", size, bytes, blocks)
		}
		if blocks > 0 {
			last := blocks - 1
			if got := int64(last)*chunk.BlockSize + chunk.BlockLength(size, last); got != size {
				t.Errorf("the last block of %d bytes ends at %d", size, got)
			}
		}
	}
}
