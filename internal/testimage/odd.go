package testimage

import (
	"archive/tar"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// OddEntries is a layer's worth of what tools get wrong: hard links, whiteouts,
// an opaque directory, extended attributes, odd and long names, set-id bits, a
// fifo, an empty file, owners beyond 16 bits, dangling links.
func OddEntries() []Entry {
	long := strings.Repeat("long-name-", 24) // 240 bytes
	owned := File("odd/owned", 0o640, []byte("owned\n"))
	owned.Header.Uid, owned.Header.Gid = 100_000, 200_000
	return []Entry{
		Whiteout("etc/removed"),
		Dir("gone", 0o755), Opaque("gone"), File("gone/above", 0o644, []byte("above\n")),
		Dir("odd", 0o755),
		File("odd/first", 0o644, []byte("one content, three names\n")),
		HardLink("odd/second", "odd/first"), HardLink("odd/third", "odd/first"),
		File("odd/labelled", 0o644, []byte("x\n")).WithXattr("user.shoal", "yes").WithXattr("user.empty", ""),
		File("odd/empty", 0o644, nil),
		File("odd/with space", 0o644, []byte("1")),
		File("odd/wíth-ünïcode-鯊", 0o644, []byte("2")),
		File("odd/with\nnewline", 0o644, []byte("3")),
		File("odd/-rf", 0o644, []byte("4")),
		File("odd/"+long, 0o644, []byte("5")),
		Symlink("odd/dangling", "/nowhere/"+long),
		File("odd/setuid", 0o4755, []byte("#!/bin/sh\n")),
		owned,
		{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "odd/fifo", Mode: 0o600}},
	}
}

// Layered is an image of many small layers, each with one file of its own.
func Layered(seed uint64, layers int, enc Encoding) (v1.Image, error) {
	made := make([]v1.Layer, layers)
	for i := range made {
		content := fmt.Appendf(nil, "layer %d of seed %d\n", i, seed)
		var err error
		made[i], err = NewLayer(enc, Tar(Dir("layers", 0o755), File(fmt.Sprintf("layers/%03d", i), 0o644, content)))
		if err != nil {
			return nil, err
		}
	}
	return Assemble(OCI, Config{}, made...)
}
