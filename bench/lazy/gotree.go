//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/testimage"
)

// helloFile is the program that is built; a package that needs much of the
// library and nothing else.
const helloFile = "work/hello/main.go"

const helloSource = `package main

import "fmt"

func main() { fmt.Println("hello") }
`

// downloads is how many bytes of module archives the Go image has at least, with
// the same modules unpacked: so that all of it is over 200 MB compressed.
const downloads = 80 * mib

// part is a directory of the machine that becomes layers.
type part struct {
	root, prefix string
	cuts         [][]string // a layer of what begins with any of these
}

// goTree is this machine's Go toolchain with a module cache. Changed, one in a
// hundred of its files has other bytes.
func (w *workshop) goTree(ctx context.Context, changed bool) (v1.Image, error) {
	root, err := command(ctx, "", "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	toolchain := part{strings.TrimSpace(root), "usr/local/go", [][]string{{"bin/", "pkg/"}, {"src/cmd/"}, {""}}}
	parts := []part{toolchain}
	if !w.quick {
		modules, err := moduleCache(ctx)
		if err != nil {
			return nil, err
		}
		parts = append(parts, modules)
	}
	var sources []testimage.Source
	for _, p := range parts {
		layers, err := p.layers(changed)
		if err != nil {
			return nil, err
		}
		sources = append(sources, layers...)
	}
	sources = append(sources, testimage.Tar(
		testimage.Dir("dev", 0o755), testimage.Dir("tmp", 0o1777), testimage.Dir("work/hello", 0o755),
		testimage.File(helloFile, 0o644, []byte(helloSource)),
		testimage.File("work/hello/go.mod", 0o644, []byte("module hello\n\ngo 1.20\n")),
	))
	return w.assemble(testimage.Gzip, sources...)
}

// moduleCache is the first modules of the machine's module cache, this program's
// own before others, unpacked and as archives.
func moduleCache(ctx context.Context) (part, error) {
	cache, err := command(ctx, "", "go", "env", "GOMODCACHE")
	if err != nil {
		return part{}, err
	}
	own, err := command(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}", "all")
	if err != nil {
		return part{}, fmt.Errorf("looking for this program's modules (run this inside the source tree): %w", err)
	}
	cache = strings.TrimSpace(cache)
	archives, err := listArchives(cache)
	if err != nil {
		return part{}, err
	}
	slices.SortStableFunc(archives, func(a, b archive) int {
		return cmp.Compare(rank(own, cache, a), rank(own, cache, b))
	})
	p := part{root: cache, prefix: "root/go/pkg/mod", cuts: make([][]string, 2)}
	for total := int64(0); total < downloads && len(archives) > 0; archives = archives[1:] {
		a := archives[0]
		total += a.size
		p.cuts[0] = append(p.cuts[0], a.unpacked+"/")
		p.cuts[1] = append(p.cuts[1], strings.TrimSuffix(a.file, "zip"))
	}
	return p, nil
}

func rank(own, cache string, a archive) int {
	if strings.Contains(own, filepath.Join(cache, a.unpacked)+"\n") {
		return 0
	}
	return 1
}

// archive is a module's, by paths relative to the cache.
type archive struct {
	file, unpacked string
	size           int64
}

func listArchives(cache string) ([]archive, error) {
	var found []archive
	top := filepath.Join(cache, "cache", "download")
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".zip" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(cache, path)
		module, version := filepath.Split(strings.TrimSuffix(strings.TrimPrefix(path, top+"/"), ".zip"))
		found = append(found, archive{relative, strings.TrimSuffix(module, "/@v/") + "@" + version, info.Size()})
		return err
	})
	return found, err
}

// layers are the directory's files, sorted into a layer for each cut.
func (p part) layers(changed bool) ([]testimage.Source, error) {
	sorted := make([][]testimage.Entry, len(p.cuts))
	err := filepath.WalkDir(p.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == p.root {
			return err
		}
		relative, err := filepath.Rel(p.root, path)
		if err != nil {
			return err
		}
		cut := slices.IndexFunc(p.cuts, func(prefixes []string) bool {
			return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(relative, prefix) })
		})
		if cut < 0 {
			return nil
		}
		entry, ok, err := p.entry(relative, d, changed)
		if ok {
			sorted[cut] = append(sorted[cut], entry)
		}
		return err
	})
	sources := make([]testimage.Source, len(sorted))
	for i, entries := range sorted {
		sources[i] = testimage.Tar(entries...)
	}
	return sources, err
}

// entry is a file of the directory, if it is of a kind that layers have here.
func (p part) entry(relative string, d fs.DirEntry, changed bool) (testimage.Entry, bool, error) {
	source, name := filepath.Join(p.root, relative), filepath.Join(p.prefix, relative)
	info, err := d.Info()
	if err != nil {
		return testimage.Entry{}, false, err
	}
	switch {
	case d.IsDir():
		return testimage.Dir(name, 0o755), true, nil
	case info.Mode().Type() == fs.ModeSymlink:
		target, err := os.Readlink(source)
		return testimage.Symlink(name, target), true, err
	case !info.Mode().IsRegular():
		return testimage.Entry{}, false, nil
	}
	entry := testimage.DiskFile(name, source, info)
	if changed && oneInHundred(relative) {
		entry = altered(entry)
	}
	return entry, true, nil
}

func oneInHundred(name string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return h.Sum32()%100 == 0
}

// altered is the same file with other bytes in its middle and some more at its
// end, as a new build of it may have.
func altered(e testimage.Entry) testimage.Entry {
	open, size := e.Open, e.Header.Size
	mark := []byte("\n// changed\n")
	e.Header.Size += int64(len(mark))
	e.Open = func() (io.ReadCloser, error) {
		body, err := open()
		if err != nil {
			return nil, err
		}
		half := size / 2
		over := min(int64(len(mark)), size-half)
		middle := io.MultiReader(io.LimitReader(body, half), bytes.NewReader(mark[:over]), skip(body, over), bytes.NewReader(mark))
		return struct {
			io.Reader
			io.Closer
		}{middle, body}, nil
	}
	return e
}

// skip reads on after so many bytes.
func skip(r io.Reader, n int64) io.Reader { return &skipper{r, n} }

type skipper struct {
	from io.Reader
	n    int64
}

func (s *skipper) Read(p []byte) (int, error) {
	if s.n > 0 {
		if _, err := io.CopyN(io.Discard, s.from, s.n); err != nil {
			return 0, err
		}
		s.n = 0
	}
	return s.from.Read(p)
}
