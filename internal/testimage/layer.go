package testimage

import (
	"bytes"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Encoding is how a layer's tar stream is stored in a registry.
type Encoding string

// The encodings of the OCI image specification.
const (
	Plain Encoding = "plain"
	Gzip  Encoding = "gzip"
	Zstd  Encoding = "zstd"
)

// layer implements v1.Layer over sources that can be read again and again.
type layer struct {
	mediaType    types.MediaType
	digest       v1.Hash
	size         int64
	diffID       v1.Hash
	compressed   Source
	uncompressed Source
}

// NewLayer is a layer whose tar stream, stored with an encoding, is src. It reads
// the stream once to learn its digests.
func NewLayer(enc Encoding, src Source) (v1.Layer, error) {
	if enc == Plain {
		return newBlob(types.OCIUncompressedLayer, src)
	}
	var buf bytes.Buffer
	mediaType, w, err := encoder(enc, &buf)
	if err != nil {
		return nil, err
	}
	diffID, err := copyHashed(w, src)
	if err != nil {
		return nil, fmt.Errorf("encoding a layer with %s: %w", enc, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encoding a layer with %s: %w", enc, err)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(buf.Bytes()))
	if err != nil {
		return nil, err
	}
	held := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	return &layer{mediaType, digest, size, diffID, held, src}, nil
}

// encoder wraps w. One goroutine encodes, since the output of several depends on
// their number.
func encoder(enc Encoding, w io.Writer) (types.MediaType, io.WriteCloser, error) {
	switch enc {
	case Gzip:
		return types.OCILayer, gzip.NewWriter(w), nil
	case Zstd:
		zw, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		return types.OCILayerZStd, zw, err
	}
	return "", nil, fmt.Errorf("no such encoding: %q", enc)
}

func copyHashed(w io.Writer, src Source) (v1.Hash, error) {
	r, err := src()
	if err != nil {
		return v1.Hash{}, err
	}
	defer r.Close()
	digest, _, err := v1.SHA256(io.TeeReader(r, w))
	return digest, err
}

// newBlob is a layer that is stored exactly as src gives it.
func newBlob(mediaType types.MediaType, src Source) (v1.Layer, error) {
	r, err := src()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	digest, size, err := v1.SHA256(r)
	if err != nil {
		return nil, fmt.Errorf("digesting a layer: %w", err)
	}
	return &layer{mediaType, digest, size, digest, src, src}, nil
}

func (l *layer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)             { return l.diffID, nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return l.compressed() }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return l.uncompressed() }
func (l *layer) Size() (int64, error)                 { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error)  { return l.mediaType, nil }
