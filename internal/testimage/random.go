package testimage

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A tar stream of one file: its header, padding to 512 bytes, and the trailer.
const (
	tarBlock    = 512
	tarOverhead = 3 * tarBlock
)

// Random is an image of as many layers of exactly size bytes each, stored
// uncompressed, of content that does not compress. Another seed gives an image
// that shares no layer with this one. Size is a multiple of 512, at least 2048.
func Random(seed uint64, layers int, size int64) (v1.Image, error) {
	made := make([]v1.Layer, layers)
	for i := range made {
		var err error
		if made[i], err = RandomLayer(seed, i, size); err != nil {
			return nil, err
		}
	}
	return Assemble(OCI, Config{}, made...)
}

// RandomLayer is layer n of [Random].
func RandomLayer(seed uint64, n int, size int64) (v1.Layer, error) {
	if size%tarBlock != 0 || size < tarOverhead+tarBlock {
		return nil, fmt.Errorf("a random layer cannot have %d bytes: give a multiple of 512 from 2048 up", size)
	}
	body := randomBytes(seed, uint64(n), size-tarOverhead)
	return NewLayer(Plain, Tar(Entry{
		Header: tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("random-%d.bin", n), Mode: 0o644, Size: size - tarOverhead},
		Open:   body,
	}))
}

// RandomBlob is a blob of any size, also 0, for an artifact: not a tar stream.
func RandomBlob(seed uint64, size int64) (v1.Layer, error) {
	return newBlob(types.MediaType("application/octet-stream"), randomBytes(seed, 1<<32, size))
}

// randomBytes is a pseudo-random run of size bytes, of its own for each pair.
func randomBytes(seed, n uint64, size int64) Source {
	return func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(chacha(seed, n), size)), nil
	}
}

func chacha(seed, n uint64) io.Reader {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	binary.LittleEndian.PutUint64(key[8:], n)
	return rand.NewChaCha8(key)
}
