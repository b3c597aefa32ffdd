package layer

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// mapOf writes a map as it could never come from a tar stream and opens it.
func mapOf(t testing.TB, objects []Object, entries ...Entry) *Map {
	t.Helper()
	return mapIn(t, t.TempDir(), objects, entries...)
}

func mapIn(t testing.TB, dir string, objects []Object, entries ...Entry) *Map {
	t.Helper()
	path := filepath.Join(dir, "map")
	w, err := createMap(path)
	if err != nil {
		t.Fatal(err)
	}
	files := newFileTable()
	renumber := make([]uint32, len(objects))
	for i, o := range objects {
		renumber[i] = uint32(i)
		if _, err := files.add(o.Digest, place{object: uint32(i), size: uint32(o.Size)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range entries {
		file := uint32(noFile)
		if e := &entries[i]; e.Type == Regular && e.Object >= 0 && e.Size > 0 && e.Inline == nil {
			file = uint32(e.Object)
		}
		if err := w.add(&entries[i], file); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.finish(files, objects, renumber, chunk.Digest{}, 0); err != nil {
		t.Fatal(err)
	}
	m, err := OpenMap(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		if err := files.close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func mergeOf(maps ...*Map) (*Tree, []byte, error) {
	var b bytes.Buffer
	tree, err := Merge(maps, &b)
	return tree, b.Bytes(), err
}

func small(path string) Entry {
	return Entry{Path: path, Type: Regular, Mode: 0o644, Size: 1, Inline: []byte("x"), Object: -1}
}

func TestMergeOfNoLayersIsARoot(t *testing.T) {
	tree, b, err := mergeOf()
	if err != nil || tree.Entries != 1 || len(tree.Objects) != 0 {
		t.Fatalf("%+v, %v", tree, err)
	}
	im, err := erofs.Open(b)
	if err != nil {
		t.Fatal(err)
	}
	root, err := im.Inode(im.Root())
	if err != nil || root.Mode != erofs.ModeDir|0o755 || root.Nlink != 2 || root.Sec != 0 {
		t.Errorf("root %+v, %v", root, err)
	}
}

// Objects are named once, in the order of their first use, and only if used.
func TestMergeNamesTheObjectsThatAreUsed(t *testing.T) {
	object := func(n byte) Object { return Object{Digest: chunk.Digest{n}, Size: PackMax, Pack: true} }
	at := func(path string, object int) Entry {
		return Entry{Path: path, Type: Regular, Mode: 0o644, Size: PackMax, Object: object}
	}
	below := mapOf(t, []Object{object(1), object(2), object(3)}, at("z", 0), at("gone", 1), at("a", 2))
	above := mapOf(t, []Object{object(4), object(3), object(2)}, Entry{Path: "gone", Type: Whiteout, Object: -1}, at("b", 1), at("c", 0))
	tree, _, err := mergeOf(below, above)
	if err != nil {
		t.Fatal(err)
	}
	want := []Object{object(3), object(4), object(1)}
	if diff := cmp.Diff(want, tree.Objects); diff != "" {
		t.Errorf("objects (-want +got):\n%s", diff)
	}
}

func TestMergeRefusesAnObjectOfTwoSizes(t *testing.T) {
	at := func(path string, size int64) *Map {
		o := Object{Digest: chunk.Digest{1}, Size: size, Pack: true}
		return mapOf(t, []Object{o}, Entry{Path: path, Type: Regular, Size: 1024, Object: 0})
	}
	if _, _, err := mergeOf(at("a", 1024), at("b", 2048)); !errors.Is(err, ErrMap) {
		t.Errorf("got %v", err)
	}
}

func TestMergeRefusesTooManyObjects(t *testing.T) {
	for n, want := range map[int]error{erofs.MaxDevices: nil, erofs.MaxDevices + 1: ErrUnsupported} {
		objects := make([]Object, n)
		entries := make([]Entry, n)
		for i := range objects {
			objects[i] = Object{Digest: chunk.Digest{byte(i), byte(i >> 8), byte(i >> 16)}, Size: 512, Pack: true}
			entries[i] = Entry{Path: fmt.Sprint(i), Type: Regular, Size: 300, Object: i}
		}
		if _, _, err := mergeOf(mapOf(t, objects, entries...)); !errors.Is(err, want) {
			t.Errorf("%d objects: %v, want %v", n, err, want)
		}
	}
}

func TestMergeBoundsLayersAndPaths(t *testing.T) {
	empty := mapOf(t, nil)
	layers := make([]*Map, MaxLayers+1)
	for i := range layers {
		layers[i] = empty
	}
	if _, _, err := mergeOf(layers...); !errors.Is(err, ErrUnsupported) {
		t.Errorf("%d layers: %v", len(layers), err)
	}
	if _, _, err := mergeOf(layers[1:]...); err != nil {
		t.Errorf("%d layers: %v", MaxLayers, err)
	}
	for _, depth := range []int{2000, 3000, 30_000} {
		_, _, err := mergeOf(mapOf(t, nil, small(strings.Repeat("d/", depth)+"f")))
		if long := 2*depth > maxPath; long != errors.Is(err, ErrUnsupported) || !long && err != nil {
			t.Errorf("%d directories deep: %v", depth, err)
		}
	}
}

// A link that doubles its path each time it is followed ends by the bound.
func TestMergeBoundsAPathThatGrows(t *testing.T) {
	entries := []Entry{{Path: "x", Type: Symlink, Target: strings.Repeat("y/", 1000) + "../x", Object: -1}, small("x/x/x/f")}
	if _, _, err := mergeOf(mapOf(t, nil, entries...)); err != nil && !errors.Is(err, ErrUnsupported) {
		t.Errorf("got %v", err)
	}
	long := Entry{Path: "l", Type: Symlink, Target: strings.Repeat("n", 300), Object: -1}
	if _, _, err := mergeOf(mapOf(t, nil, long, small("l/f"))); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a part of 300 bytes in a link: %v", err)
	}
}

// The same few names a hundred thousand times, with marks between, take neither
// much time nor memory: what is removed is used again.
func TestMergeUsesRemovedNamesAgain(t *testing.T) {
	var entries []Entry
	for i := range 50_000 {
		d := fmt.Sprintf("d/%d", i%10)
		entries = append(entries, Entry{Path: d, Type: Dir, Object: -1}, small(d+"/f"), small(d), Entry{Path: "d", Type: Opaque, Object: -1})
	}
	m := newMerge([]*Map{mapOf(t, nil, entries...)})
	if err := m.lay(0); err != nil {
		t.Fatal(err)
	}
	if len(m.inodes) > 30 || len(m.names) > 30 {
		t.Errorf("%d inodes and %d names", len(m.inodes), len(m.names))
	}
}

func TestMergeCountsWhatItDrops(t *testing.T) {
	e := small("f")
	e.Xattrs = []erofs.Xattr{{Name: "com.apple", Value: nil}, {Name: "trusted.a", Value: nil}, {Name: "user.a", Value: []byte("1")}}
	link := Entry{Path: "l", Type: Symlink, Target: "f", Object: -1, Xattrs: []erofs.Xattr{{Name: "security.a"}, {Name: "user.a"}}}
	tree, _, err := mergeOf(mapOf(t, nil, e, link))
	if err != nil || tree.Dropped != 3 {
		t.Errorf("%+v, %v", tree, err)
	}
}

func TestMergeReportsADamagedMapAndAFailedWriter(t *testing.T) {
	m := mapOf(t, nil, small("f"))
	broken := errors.New("broken")
	if _, err := Merge([]*Map{m}, brokenWriter{broken}); !errors.Is(err, broken) {
		t.Errorf("a failed writer: %v", err)
	}
	m.begins = make([]byte, len(m.begins))
	if _, _, err := mergeOf(m); !errors.Is(err, ErrMap) {
		t.Errorf("a damaged map: %v", err)
	}
}

type brokenWriter struct{ err error }

func (f brokenWriter) Write([]byte) (int, error) { return 0, f.err }
