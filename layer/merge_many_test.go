//go:build linux

package layer

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/shoal-project/shoal/internal/reference"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/treelist"
)

// What is small by default, so that a run of all tests stays short:
//
//	go test ./layer -run Many -args -entries=1000000
//	go test ./layer -run Hollow -args -hollow=21474836480
//	go test ./layer -run Corpus -args -containerd
var (
	manyEntries    = flag.Int("entries", 10_000, "entries of the image of many entries")
	hollowSize     = flag.Int64("hollow", 64<<20+77, "bytes of the file that is mostly zeros")
	shuffles       = flag.Uint64("shuffles", 10, "images of random entries")
	withContainerd = flag.Bool("containerd", false, "compare with containerd also where umoci says what is right")
)

func TestManyEntriesAreTheSameTree(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: -short: unpacks many files")
	}
	refs := newReferences(t, *withContainerd)
	c := testimage.Many(*manyEntries)
	began := time.Now()
	ours, err := merged(t, c.Layers)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d entries built, merged twice, mounted and listed twice in %s", len(ours), time.Since(began))
	refs.compare(t, c, ours)
}

// Random images: what umoci unpacks is the same tree.
func TestShuffledEntriesAreTheSameTree(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: -short: unpacks images")
	}
	refs := newReferences(t, false)
	compared := uint64(0)
	for seed := range *shuffles {
		c := testimage.Shuffled(seed)
		t.Run(c.Name, func(t *testing.T) {
			ours, err := merged(t, c.Layers)
			if errors.Is(err, ErrUnsupported) {
				dir := short(t)
				if _, theirs := reference.Umoci(t.Context(), dir, image(t, c.Layers)); theirs == nil {
					t.Errorf("umoci unpacks what was refused: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if refs.compareUmoci(t, c, ours) {
				compared++
			}
		})
	}
	t.Logf("%d of %d images were unpacked by umoci", compared, *shuffles)
	if compared < *shuffles/4 {
		t.Errorf("only %d of %d images were compared", compared, *shuffles)
	}
}

// The file's bytes are read three times: to know its digest, to build, to list.
func TestHollowFileIsTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: -short: reads a large file")
	}
	dir := short(t)
	c := testimage.Hollow(*hollowSize)
	objects := &dirSink{dir: dir}
	began := time.Now()
	maps, err := buildAll(t, c.Layers, objects)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("built in %s", time.Since(began))
	var image bytes.Buffer
	tree, err := Merge(maps, &image)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tree")
	if err := os.WriteFile(path, image.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		t.Skip("SKIP: mounting needs root")
	}
	began = time.Now()
	all := mountTree(t, path, objects, tree)
	t.Logf("a tree of %d bytes; listed in %s", tree.Size, time.Since(began))
	want := treelist.Entry{Path: "d/hollow", Size: *hollowSize, Sum: bodySum(t, c.Layers[0])}
	got := all[len(all)-1]
	if got.Path != want.Path || got.Size != want.Size || got.Sum != want.Sum {
		t.Errorf("%q of %d bytes, %x; want %q of %d, %x", got.Path, got.Size, got.Sum, want.Path, want.Size, want.Sum)
	}
}

// bodySum digests the second member of a layer.
func bodySum(t *testing.T, s testimage.Source) treelist.Sum {
	t.Helper()
	r, err := s()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	tr := tar.NewReader(r)
	for range 2 {
		if _, err := tr.Next(); err != nil {
			t.Fatal(err)
		}
	}
	h := sha256.New()
	if n, err := io.Copy(h, tr); err != nil || n != *hollowSize {
		t.Fatalf("%d bytes, %v", n, err)
	}
	return treelist.Sum(h.Sum(nil))
}

// Merge alone, with the most memory that the process held meanwhile.
func BenchmarkMergeMany(b *testing.B) {
	dir := b.TempDir()
	var maps []*Map
	for i, s := range testimage.Many(*manyEntries).Layers {
		path := fmt.Sprintf("%s/%d", dir, i)
		if err := buildOne(b.Context(), s, &dirSink{dir: dir}, path); err != nil {
			b.Fatal(err)
		}
		m, err := OpenMap(path)
		if err != nil {
			b.Fatal(err)
		}
		defer m.Close()
		maps = append(maps, m)
	}
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Skip("SKIP: the kernel does not forget the peak of memory: ", err)
	}
	for b.Loop() {
		tree, err := Merge(maps, io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(tree.Size)/float64(tree.Entries), "tree-bytes/entry")
	}
	b.ReportMetric(peak(b), "peak-MiB")
}

func peak(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	found := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if found == nil {
		b.Fatal("no VmHWM")
	}
	kib, err := strconv.Atoi(string(found[1]))
	if err != nil {
		b.Fatal(err)
	}
	return float64(kib) / 1024
}
