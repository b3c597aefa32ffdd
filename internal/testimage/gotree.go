package testimage

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// goLayers cut the Go tree: each layer has what lies under one of its prefixes;
// the last one the rest.
var goLayers = [][]string{
	{"bin/"},
	{"pkg/"},
	{"src/cmd/"},
	{"src/crypto/", "src/internal/", "src/net/", "src/runtime/"},
	{"src/"},
	{""},
}

// GoTree is an image of the machine's own Go toolchain: some 15,000 files and a
// quarter of a gigabyte in six layers.
func GoTree(ctx context.Context, enc Encoding) (v1.Image, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("looking for the Go tree (is go in PATH?): %w", err)
	}
	return Tree(strings.TrimSpace(string(out)), "usr/local/go", goLayers, enc)
}

// Tree is an image of a directory, placed under prefix: one layer for each set of
// path prefixes, an entry going to the first that fits.
func Tree(root, prefix string, cuts [][]string, enc Encoding) (v1.Image, error) {
	sorted := make([][]Entry, len(cuts))
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == root {
			return err
		}
		relative, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		entry, err := diskEntry(filepath.Join(prefix, relative), file, d)
		if i := cutOf(cuts, filepath.ToSlash(relative)); err == nil && i >= 0 {
			sorted[i] = append(sorted[i], entry)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the tree %s: %w", root, err)
	}
	layers := make([]v1.Layer, len(sorted))
	for i, entries := range sorted {
		if layers[i], err = NewLayer(enc, Tar(entries...)); err != nil {
			return nil, err
		}
	}
	return Assemble(OCI, Config{}, layers...)
}

func cutOf(cuts [][]string, file string) int {
	for i, prefixes := range cuts {
		for _, p := range prefixes {
			if strings.HasPrefix(file, p) {
				return i
			}
		}
	}
	return -1
}

func diskEntry(name, file string, d fs.DirEntry) (Entry, error) {
	info, err := d.Info()
	if err != nil {
		return Entry{}, err
	}
	switch {
	case d.IsDir():
		return Dir(name, int64(info.Mode().Perm())), nil
	case info.Mode().Type() == fs.ModeSymlink:
		target, err := os.Readlink(file)
		return Symlink(name, target), err
	case info.Mode().IsRegular():
		return DiskFile(name, file, info), nil
	}
	return Entry{}, fmt.Errorf("%s: cannot put a file of mode %s into a layer", file, info.Mode())
}
