package layer

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/layer/erofs"
)

// parts and targets are what fuzzed entries are called and point to: few, so that
// they meet.
var (
	parts   = []string{"a", "b", "c", "l"}
	targets = []string{"a", "/", "..", "l", "/a/b", "../b", "l/l/l", "a/../../c", "b/c", "../../../l", "./c//a/", "/l/../b"}
)

// decode makes two layers of bytes, four an entry. 0xff begins the second.
func decode(p []byte) (layers [2][]Entry) {
	at := 0
	for ; len(p) >= 4; p = p[4:] {
		if p[0] == 0xff {
			at = 1
			continue
		}
		e := Entry{
			Type: Type(p[0]%9) + 1, Path: pathOf(p[1], p[2]), Mode: uint32(p[3]), Sec: int64(p[3]) - 100, Object: -1,
		}
		switch e.Type {
		case Regular:
			e.Size, e.Inline = 1, p[3:4]
		case Symlink:
			e.Target = targets[int(p[3])%len(targets)]
		case HardLink:
			e.Target = pathOf(p[3], p[3]>>2)
		case Char, Block:
			e.Rdev = uint64(p[3] % 3)
		}
		layers[at] = append(layers[at], e)
	}
	return layers
}

// pathOf is a path of one to four parts, two bits each.
func pathOf(length, bits byte) string {
	path := make([]string, 1+length%4)
	for i := range path {
		path[i] = parts[bits>>(2*i)&3]
	}
	return strings.Join(path, "/")
}

// Whatever layers hold, they merge into an image that opens and makes sense, the
// same each time, or are refused.
func FuzzMerge(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 0, 1, 2, 0xff, 0, 0, 0, 7, 0, 0, 0, 8, 0, 1, 0})
	f.Add([]byte{2, 0, 3, 3, 2, 0, 3, 6, 0, 1, 3, 0, 0, 2, 3, 0})             // a link to itself, and below it
	f.Add([]byte{0, 1, 0, 9, 3, 2, 1, 1, 3, 0, 2, 0, 0xff, 0, 0, 0, 6, 1, 0}) // hard links
	f.Add([]byte{2, 0, 3, 4, 0xff, 0, 0, 0, 0, 2, 0x0f, 1, 7, 1, 0x0b, 0, 8, 1, 3, 0, 1, 0, 3, 1})
	f.Add([]byte{1, 3, 0, 1, 0, 3, 0, 1, 0xff, 0, 0, 0, 8, 1, 0, 0, 0, 3, 0, 1, 8, 0, 0, 0, 4, 0, 0, 0})
	dir := "/dev/shm" // where durable costs nothing
	if _, err := os.Stat(dir); err != nil {
		dir = f.TempDir()
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 4096 {
			return
		}
		maps := open(t, dir, decode(p))
		lower(t, maps)
		tree, b, err := mergeOf(maps...)
		if err != nil {
			if !errors.Is(err, ErrUnsupported) {
				t.Fatalf("refused by an error of no kind: %v", err)
			}
			return
		}
		sane(t, tree, b)
		if _, again, err := mergeOf(maps...); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("merged again: %v", err)
		}
	})
}

// lower asserts that the last layer alone is refused where all are, and otherwise
// makes sense.
func lower(t *testing.T, maps []*Map) {
	t.Helper()
	_, _, merged := mergeOf(maps...)
	var b bytes.Buffer
	tree, err := Lower(maps, &b)
	if (err == nil) != (merged == nil) {
		t.Fatalf("alone %v, merged %v", err, merged)
	}
	if err == nil {
		sane(t, tree, b.Bytes())
	}
}

func open(t *testing.T, dir string, layers [2][]Entry) (maps []*Map) {
	t.Helper()
	dir, err := os.MkdirTemp(dir, "merge")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, entries := range layers {
		maps = append(maps, mapIn(t, dir, nil, entries...))
	}
	return maps
}

// sane asserts of an image that every name leads to one of its inodes, that no
// marks are left, and that links are counted.
func sane(t *testing.T, tree *Tree, b []byte) {
	t.Helper()
	if tree.Size != int64(len(b)) {
		t.Fatalf("%d bytes, said to be %d", len(b), tree.Size)
	}
	im, err := erofs.Open(b)
	if err != nil {
		t.Fatal(err)
	}
	names, links := map[uint64]uint32{}, map[uint64]uint32{}
	var visit func(nid uint64)
	visit = func(nid uint64) {
		n, err := im.Inode(nid)
		if err != nil {
			t.Fatal(err)
		}
		links[nid] = n.Nlink
		if !n.IsDir() {
			return
		}
		err = im.ReadDir(&n, 0, func(d erofs.Dirent) bool {
			names[d.Nid]++
			if name := string(d.Name); name != "." && name != ".." {
				if strings.HasPrefix(name, whiteoutPrefix) {
					t.Fatalf("a mark %q is left", name)
				}
				visit(d.Nid)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	visit(im.Root())
	for nid, n := range names {
		if n != links[nid] {
			t.Fatalf("inode %d has %d names and says %d", nid, n, links[nid])
		}
	}
	if int64(len(names)) != tree.Entries {
		t.Fatalf("%d inodes, said to be %d", len(names), tree.Entries)
	}
}
