//go:build linux

package layerstore

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/shoal-project/shoal/chunk"
)

// ErrUnknown says that an image has no such layer.
var ErrUnknown = errors.New("no such layer")

// Layers are the layers of images, and who holds them. A user is any name; it
// holds one layer at a time. Implementations are safe for concurrent use, and
// remember across restarts who holds what.
type Layers interface {
	// Find tells of the layer of an image whose blob, or whose table of contents,
	// has this digest; an error that wraps ErrUnknown if there is none.
	Find(ctx context.Context, reference string, digest chunk.Digest) (*Layer, error)
	// Hold keeps the layer's view for a user. It asks no registry, and gives the plain
	// bytes in the layer's tar stream.
	Hold(ctx context.Context, user string, layer *Layer) (plain int64, err error)
	// Lower is the directory that shows what the user holds.
	Lower(ctx context.Context, user string) (string, error)
	// Release ends Hold; an unknown user is no error.
	Release(ctx context.Context, user string) error
	// Users lists who holds something.
	Users() []string
	// Blob opens the registry's bytes of the layer.
	Blob(ctx context.Context, layer *Layer) (Blob, error)
}

// Blob is an open blob.
type Blob interface {
	io.ReaderAt
	io.Closer
}

// Layer is one layer of an image.
type Layer struct {
	Reference string        `json:"reference"` // the image's
	Digest    chunk.Digest  `json:"digest"`    // the blob's
	Size      int64         `json:"size"`      // the blob's
	MediaType string        `json:"media_type"`
	DiffID    chunk.Digest  `json:"diff_id"`
	TOC       *chunk.Digest `json:"toc,omitempty"` // the digest of the blob's table of contents
	// Known is the implementation's own word on the image.
	Known json.RawMessage `json:"known,omitempty"`
}

// info is the part of containers/storage's record of a layer that a store tells.
type info struct {
	CompressedDigest   string `json:"compressed-diff-digest"`
	CompressedSize     int64  `json:"compressed-size"`
	UncompressedDigest string `json:"diff-digest"`
	UncompressedSize   int64  `json:"diff-size"`
	CompressionType    int    `json:"compression"`
	TOCDigest          string `json:"toc-digest,omitempty"`
}

// How containers/storage numbers compressions.
const (
	uncompressed = 0
	gzipped      = 2
	zstdPacked   = 4
)

// infoOf is the file info.
func infoOf(l *Layer, plain int64) ([]byte, error) {
	i := info{
		CompressedDigest: l.Digest.String(), CompressedSize: l.Size,
		UncompressedDigest: l.DiffID.String(), UncompressedSize: plain, CompressionType: compressionOf(l.MediaType),
	}
	if l.TOC != nil {
		i.TOCDigest = l.TOC.String()
	}
	return json.Marshal(i)
}

func compressionOf(mediaType string) int {
	switch {
	case strings.HasSuffix(mediaType, "+zstd"), strings.HasSuffix(mediaType, ".zstd"):
		return zstdPacked
	case strings.HasSuffix(mediaType, "gzip"):
		return gzipped
	}
	return uncompressed
}
