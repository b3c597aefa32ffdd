//go:build e2e && linux

package e2e

import (
	"archive/tar"
	"context"
	"flag"
	"fmt"
	"io"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/lazyfs"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/treelist"
)

// heavy runs the tests of what takes minutes: make test-heavy.
var heavy = flag.Bool("heavy", false, "also mount an image of a million entries and one of 20 GiB")

func needsHeavy(t *testing.T) {
	t.Helper()
	if !*heavy {
		t.Skip("SKIP: takes minutes; run with -heavy (make test-heavy)")
	}
}

func TestHeavyMillionEntries(t *testing.T) {
	needsHeavy(t)
	const dirs, files = 1000, 999
	var entries []testimage.Entry
	for d := range dirs {
		entries = append(entries, testimage.Dir(fmt.Sprintf("d%03d", d), 0o755))
		for f := range files {
			name := fmt.Sprintf("d%03d/file-%03d", d, f)
			entries = append(entries, testimage.File(name, 0o644, []byte(name)))
		}
	}
	s := startSite(t)
	node := s.node(t)
	img := imageOf(t, testimage.Zstd, entries)
	name := s.push(t, "heavy/million:v1", img)
	began := time.Now()
	dir := node.mount(t, name)
	t.Logf("mounted after %s", time.Since(began).Round(time.Millisecond))
	checkMillion(t, dir, dirs, files)
	node.untilComplete(t, dir)
	native := node.mount(t, name, "--native")
	checkMillion(t, native, dirs, files)
	node.unmount(t, native)
	node.unmount(t, dir) // all of it is in the tree, so that it is native, too, and would stay
	logMemory(t, s, node)
}

// checkMillion lists all and looks into some.
func checkMillion(t *testing.T, root string, dirs, files int) {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	all := must(treelist.ListApart(ctx, root, treelist.Options{NoContent: true, NoXattrs: true}))(t)
	if want := 1 + dirs + dirs*files; len(all) != want {
		t.Fatalf("%d entries, want %d", len(all), want)
	}
	t.Logf("listed after %s", time.Since(began).Round(time.Millisecond))
	for i := 0; i < dirs; i += 97 {
		name := fmt.Sprintf("d%03d/file-%03d", i, (i*7)%files)
		if got := command(t, nil, "cat", root+"/"+name); got != name {
			t.Errorf("%s reads %q", name, got)
		}
	}
}

func logMemory(t *testing.T, s *site, node *lazy) {
	t.Helper()
	for _, p := range []*process{s.super.process, node.peer.process, node.process} {
		t.Logf("%s: a peak of %d MiB resident", p.name, p.peakMemory(t)>>20)
	}
}

func TestHeavyTwentyGiBOfMostlyZeros(t *testing.T) {
	needsHeavy(t)
	const size, every, island = 20 << 30, 1 << 30, 64 << 10
	random := noise(5, island)
	content := func() (io.ReadCloser, error) {
		return io.NopCloser(&islandFile{size: size, every: every, island: random}), nil
	}
	file := testimage.Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: "disk.img", Mode: 0o600, Size: size}, Open: content}
	layer := must(testimage.NewLayer(testimage.Zstd, testimage.Tar(file)))(t)
	s := startSite(t)
	node := s.node(t)
	img := must(testimage.Assemble(testimage.OCI, testimage.Config{}, []v1.Layer{layer}...))(t)
	name := s.push(t, "heavy/zeros:v1", img)
	began := time.Now()
	dir := node.mount(t, name)
	t.Logf("mounted after %s", time.Since(began).Round(time.Millisecond))
	node.until(t, dir, "completeness", func(s lazyfs.ImageStatus) bool { return s.State == lazyfs.StateComplete })
	t.Logf("complete after %s", time.Since(began).Round(time.Millisecond))
	for _, root := range []string{dir, node.mount(t, name, "--native")} {
		for at := int64(0); at < size; at += every {
			got := must(part(t, root+"/disk.img", at, 2*island))(t)
			want := make([]byte, 2*island)
			copy(want, random)
			rightly(t, got, want, 0)
			if len(got) != len(want) {
				t.Errorf("%d bytes at %d", len(got), at)
			}
		}
		if root != dir {
			node.unmount(t, root)
		}
	}
	used := must(try(t, nil, "du", "-sm", s.super.dir+"/data", node.peer.dir+"/data"))(t)
	t.Logf("MiB on the disks:\n%s", used)
	logMemory(t, s, node)
}

// islandFile is zeros with the same bytes at the start of each stretch.
type islandFile struct {
	size, every, off int64
	island           []byte
}

func (f *islandFile) Read(p []byte) (int, error) {
	if f.off == f.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), f.size-f.off)]
	at := f.off % f.every
	var n int
	if at < int64(len(f.island)) {
		n = copy(p, f.island[at:])
	} else {
		n = int(min(int64(len(p)), f.every-at))
		clear(p[:n])
	}
	f.off += int64(n)
	return n, nil
}
