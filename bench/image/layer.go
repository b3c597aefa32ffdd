package image

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	tarBlock   = 512
	tarTrailer = 2 * tarBlock
	// leastTar is the smallest layer that is made a tar.
	leastTar = 4096
)

// layer is a [v1.Layer] whose bytes are computed each time they are read.
type layer struct {
	seed   [32]byte
	size   int64
	header []byte
	digest v1.Hash
}

// newLayer computes the bytes once, for the digest.
func newLayer(seed uint64, index int, size int64) (*layer, error) {
	l := &layer{size: size}
	binary.BigEndian.PutUint64(l.seed[:], seed)
	binary.BigEndian.PutUint64(l.seed[8:], uint64(index))
	if size >= leastTar {
		if size%tarBlock != 0 {
			return nil, fmt.Errorf("layer of %d bytes: a size above %d must be a multiple of %d", size, leastTar, tarBlock)
		}
		var header bytes.Buffer
		err := tar.NewWriter(&header).WriteHeader(&tar.Header{
			Name: "random", Mode: 0o644, Size: size - tarBlock - tarTrailer, Format: tar.FormatUSTAR,
		})
		if err != nil {
			return nil, fmt.Errorf("layer of %d bytes: %w", size, err)
		}
		l.header = header.Bytes()
	}
	digest, n, err := v1.SHA256(l.reader())
	if err != nil || n != size {
		return nil, fmt.Errorf("layer of %d bytes came out as %d: %w", size, n, err)
	}
	l.digest = digest
	return l, nil
}

func (l *layer) reader() io.Reader {
	random := io.Reader(rand.NewChaCha8(l.seed))
	if l.header == nil {
		return io.LimitReader(random, l.size)
	}
	body := l.size - tarBlock - tarTrailer
	return io.MultiReader(bytes.NewReader(l.header), io.LimitReader(random, body), bytes.NewReader(make([]byte, tarTrailer)))
}

func (l *layer) open() (io.ReadCloser, error) { return io.NopCloser(l.reader()), nil }

func (l *layer) Digest() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)             { return l.digest, nil }
func (l *layer) Compressed() (io.ReadCloser, error)   { return l.open() }
func (l *layer) Uncompressed() (io.ReadCloser, error) { return l.open() }
func (l *layer) Size() (int64, error)                 { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error)  { return types.OCIUncompressedLayer, nil }
