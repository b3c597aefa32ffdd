package layer

import (
	"context"
	"errors"
	"io"

	"github.com/shoal-project/shoal/chunk"
)

// Descriptor is a layer as an image's manifest and configuration tell of it.
type Descriptor struct {
	Blob   chunk.Digest
	Size   int64 // of the blob in bytes
	DiffID chunk.Digest
}

// Summary says what a layer came to.
type Summary struct {
	Encoding string // "plain", "gzip" or "zstd"
	Entries  int64
	Blob     int64 // bytes of the blob
	Plain    int64 // bytes of the tar stream, all of them
	Files    int64 // bytes of all regular files, as long as they say they are
	Content  int64 // bytes of the objects that were put
	Objects  int   // that the map points into
	Packs    int   // packs that were put
	Large    int   // large files that were put
	Reused   int   // small files that lie in packs of earlier layers
	Repacked int   // small files that were read back from packs of earlier layers
}

// Build maps the layer that blob gives, puts its content into sink and writes its
// map to mapPath. It reads blob to its end, whose error is io.EOF only if the
// bytes were those of d.Blob. Known may be nil. A Read of blob must end when ctx
// does.
func Build(ctx context.Context, blob io.Reader, d Descriptor, sink Sink, known Known, limits Limits, mapPath string) (*Summary, error) {
	return nil, errors.New("not built yet")
}
