package layer

import "github.com/shoal-project/shoal/chunk"

// Sink is where content objects go. Putting an object that is there already is
// no error. It is used by one goroutine at a time.
type Sink interface {
	// Put takes a whole pack of at most [PackMax] bytes and names it by the
	// SHA-256 of its bytes. It does not keep data.
	Put(data []byte) (chunk.Digest, error)
	// Ingest begins a large file of exactly size bytes.
	Ingest(size int64) (Ingest, error)
}

// Ingest takes one large file, in order. It is ended by Commit or Abort.
type Ingest interface {
	// Write does not keep p.
	Write(p []byte) (int, error)
	// Commit names the object by the SHA-256 of its bytes, once all were written.
	Commit() (chunk.Digest, error)
	// Abort forgets it; it does nothing after Commit.
	Abort() error
}

// Place is where the bytes of a small file lie.
type Place struct {
	Object chunk.Digest // the pack
	Size   int64        // the pack's length in bytes
	Offset int64        // of the file in the pack, a multiple of [PackAlign]
	File   chunk.Digest // the SHA-256 of the file's bytes
}

// Known is the memory of the small files of earlier layers, so that their bytes
// are not packed again. It is used by one goroutine at a time. What Find gives
// must stay readable until the Build that asked has returned.
type Known interface {
	// Find tells where a file's bytes lie already.
	Find(file chunk.Digest) (Place, bool)
	// Read fills buf with the bytes from p on.
	Read(p Place, buf []byte) error
}
