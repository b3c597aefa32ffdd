//go:build linux

package layer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/treelist"
	"github.com/shoal-project/shoal/layer/erofs"
)

// The kernel's overlayfs shows of all lower directories what Merge makes of all
// layers.
func TestLowersStackToTheMerge(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIP: mounting needs root")
	}
	for _, c := range testimage.Corpus() {
		t.Run(c.Name, func(t *testing.T) {
			objects := &dirSink{dir: short(t)}
			maps, err := buildAll(t, c.Layers, objects)
			if err != nil {
				t.Skip("no layer map")
			}
			var image bytes.Buffer
			if _, err := Merge(maps, &image); err != nil {
				var none bytes.Buffer
				if _, lower := Lower(maps, &none); !errors.Is(lower, ErrUnsupported) {
					t.Errorf("refused by Merge for %v, and not alone: %v", err, lower)
				}
				return
			}
			want, err := readTree(image.Bytes(), objects)
			if err != nil {
				t.Fatal(err)
			}
			got := stacked(t, maps, objects)
			if strings.Contains(c.Name, "link to the layer below") {
				parted(want, got) // stacked, the names in two layers are two files
			}
			tell(t, "the merge", want, got, treelist.Ignore{DirNlink: true, Nlink: true})
		})
	}
}

// parted forgets which names share an inode.
func parted(lists ...[]treelist.Entry) {
	for _, all := range lists {
		for i := range all {
			all[i].First = ""
		}
	}
}

// stacked lists what overlayfs shows of the layers' lower directories.
func stacked(t *testing.T, maps []*Map, objects *dirSink) []treelist.Entry {
	t.Helper()
	lowers := []string{filepath.Join(objects.dir, "empty")} // overlayfs wants two
	for i := range maps {
		dir := filepath.Join(objects.dir, fmt.Sprint(i))
		for _, made := range []string{dir, lowers[len(lowers)-1]} {
			if err := os.MkdirAll(made, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		mountLower(t, maps[:i+1], objects, dir)
		lowers = append([]string{dir}, lowers...)
	}
	target := filepath.Join(objects.dir, "stack")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("overlay", target, "overlay", unix.MS_RDONLY, "lowerdir="+strings.Join(lowers, ":")); err != nil {
		t.Fatal(err)
	}
	defer unmount(t, target)
	return list(t, target, treelist.Options{Overlay: true})
}

func unmount(t *testing.T, target string) {
	t.Helper()
	if err := unix.Unmount(target, 0); err != nil {
		t.Error(err)
	}
}

// mountLower mounts the last layer alone, until the test ends.
func mountLower(t *testing.T, maps []*Map, objects *dirSink, dir string) {
	t.Helper()
	var image bytes.Buffer
	tree, err := Lower(maps, &image)
	if err != nil {
		t.Fatal(err)
	}
	path := dir + ".tree"
	if err := os.WriteFile(path, image.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var devices []string
	for _, o := range tree.Objects {
		devices = append(devices, objects.path(o.Digest))
	}
	if err := erofs.Mount(path, devices, 0, dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmount(t, dir) })
}

// lowerOf lists the names that the last layer alone has, by path, with a mark of
// what they are.
func lowerOf(t *testing.T, maps ...*Map) map[string]string {
	t.Helper()
	var b bytes.Buffer
	if _, err := Lower(maps, &b); err != nil {
		t.Fatal(err)
	}
	all, err := readTree(b.Bytes(), &dirSink{dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, e := range all[1:] {
		switch {
		case e.Mode == unix.S_IFCHR && e.Rdev == 0:
			names[string(e.Path)] = "whiteout"
		case e.Xattrs["trusted.overlay.opaque"] == "y":
			names[string(e.Path)] = "opaque"
		case e.IsDir():
			names[string(e.Path)] = "directory"
		default:
			names[string(e.Path)] = "file"
		}
	}
	return names
}

func TestLowerHasTheMarksOfOverlayfs(t *testing.T) {
	dir := func(path string) Entry { return Entry{Path: path, Type: Dir, Mode: 0o700, Object: -1} }
	gone := func(path string) Entry { return Entry{Path: path, Type: Whiteout, Object: -1} }
	opaque := func(path string) Entry { return Entry{Path: path, Type: Opaque, Object: -1} }
	below := []Entry{small("a/x"), small("a/y/z"), small("b"), dir("c"), small("c/d/e")}
	for name, c := range map[string]struct {
		entries []Entry
		want    map[string]string
	}{
		"nothing":             {nil, map[string]string{}},
		"a file":              {[]Entry{small("a/w")}, map[string]string{"a": "directory", "a/w": "file"}},
		"a whiteout":          {[]Entry{gone("a/x"), gone("b")}, map[string]string{"a": "directory", "a/x": "whiteout", "b": "whiteout"}},
		"of nothing":          {[]Entry{gone("a/none"), gone("none")}, map[string]string{"a": "directory"}},
		"of a file it has":    {[]Entry{small("b"), gone("b")}, map[string]string{"b": "file"}},
		"before the file":     {[]Entry{gone("b"), small("b")}, map[string]string{"b": "file"}},
		"of a directory":      {[]Entry{gone("a"), small("a/x")}, map[string]string{"a": "opaque", "a/x": "file"}},
		"made anew":           {[]Entry{gone("a"), dir("a")}, map[string]string{"a": "opaque"}},
		"after the entries":   {[]Entry{small("a/x"), gone("a")}, map[string]string{"a": "opaque", "a/x": "file"}},
		"an opaque mark":      {[]Entry{dir("a"), opaque("a"), small("a/w")}, map[string]string{"a": "opaque", "a/w": "file"}},
		"in a new directory":  {[]Entry{dir("n"), opaque("n")}, map[string]string{"n": "directory"}},
		"of the root":         {[]Entry{small("c/f"), opaque("")}, map[string]string{"a": "whiteout", "b": "whiteout", "c": "opaque", "c/f": "file"}},
		"overlayfs's own":     {[]Entry{{Path: "a", Type: Char, Object: -1}}, map[string]string{"a": "whiteout"}},
		"a file in its place": {[]Entry{small("a")}, map[string]string{"a": "file"}},
	} {
		got := lowerOf(t, mapOf(t, nil, below...), mapOf(t, nil, c.entries...))
		if fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A directory that the layer only puts something into stays as it was below.
func TestLowerKeepsDirectoriesAsTheyWere(t *testing.T) {
	below := mapOf(t, nil, Entry{Path: "tmp", Type: Dir, Mode: 0o1777, UID: 3, Object: -1})
	var b bytes.Buffer
	if _, err := Lower([]*Map{below, mapOf(t, nil, small("tmp/f"))}, &b); err != nil {
		t.Fatal(err)
	}
	all, err := readTree(b.Bytes(), &dirSink{dir: t.TempDir()})
	if err != nil || len(all) != 3 || all[1].Mode != unix.S_IFDIR|0o1777 || all[1].UID != 3 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestLowerRefusesNoLayers(t *testing.T) {
	var b bytes.Buffer
	if _, err := Lower(nil, &b); !errors.Is(err, ErrUnsupported) {
		t.Errorf("%v", err)
	}
	if err := (&Binding{Form: FormLower, Tree: chunk.Digest{1}, Size: 1}).Sign(keyOf(1)); !errors.Is(err, ErrBinding) {
		t.Errorf("the lower directory of no layers was signed: %v", err)
	}
}
