package testimage

import (
	"archive/tar"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A huge layer has an island of random bytes every so often, and zeros between,
// so that every chunk's position can be told and a sparse file holds it cheaply.
const (
	islandEvery = 4 << 20
	islandSize  = 4 << 10
)

// Huge is a layer of exactly size bytes, stored uncompressed: zeros with islands
// of random bytes. It may exceed 4 GiB. Size is a multiple of 512, at least 2048.
func Huge(seed uint64, size int64) (v1.Layer, error) {
	if size%tarBlock != 0 || size < tarOverhead+tarBlock {
		return nil, fmt.Errorf("a huge layer cannot have %d bytes: give a multiple of 512 from 2048 up", size)
	}
	body := size - tarOverhead
	return NewLayer(Plain, Tar(Entry{
		Header: tar.Header{Typeflag: tar.TypeReg, Name: "huge.bin", Mode: 0o644, Size: body},
		Open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(&islands{random: chacha(seed, 1<<33)}, body)), nil
		},
	}))
}

// islands is the endless content of a huge layer.
type islands struct {
	random io.Reader
	off    int64
}

func (s *islands) Read(p []byte) (int, error) {
	at := s.off % islandEvery
	if at < islandSize {
		n, err := io.ReadFull(s.random, p[:min(int64(len(p)), islandSize-at)])
		s.off += int64(n)
		return n, err
	}
	n := int(min(int64(len(p)), islandEvery-at))
	clear(p[:n])
	s.off += int64(n)
	return n, nil
}
