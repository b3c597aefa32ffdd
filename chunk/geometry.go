package chunk

// How an object is cut. The last chunk of an object and the last block of a
// chunk may be short; none is empty, so an empty object has no chunks.
const (
	// Size is a chunk's length in bytes.
	Size = 4 << 20
	// BlockSize is a block's length in bytes.
	BlockSize = 256 << 10
	// BlocksPerChunk is how many blocks a whole chunk has.
	BlocksPerChunk = Size / BlockSize
	// MaxObject bounds an object's size in bytes: what the network may claim. Its
	// list (1 MiB) fits one control message.
	MaxObject = 128 << 30
)

// Count is how many chunks an object of size bytes has.
func Count(size int64) int { return int((size + Size - 1) / Size) }

// Length is the length in bytes of chunk i of an object of size bytes.
func Length(size int64, i int) int64 { return min(Size, size-int64(i)*Size) }

// BlockCount is how many blocks an object (or a chunk) of size bytes has.
// Because BlockSize divides Size, block b of an object lies in chunk
// b/BlocksPerChunk and starts at byte b*BlockSize.
func BlockCount(size int64) int { return int((size + BlockSize - 1) / BlockSize) }

// BlockLength is the length in bytes of block b of an object of size bytes.
func BlockLength(size int64, b int) int64 { return min(BlockSize, size-int64(b)*BlockSize) }

// ChunkBlocks is the range [first, end) of object block numbers in chunk i.
func ChunkBlocks(size int64, i int) (first, end int) {
	first = i * BlocksPerChunk
	return first, min(first+BlocksPerChunk, BlockCount(size))
}
