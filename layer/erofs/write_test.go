package erofs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
)

// walk opens path at in im.
func walk(t testing.TB, im *Image, at string) Inode {
	t.Helper()
	n, err := im.Inode(im.Root())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Split(at, "/") {
		if name == "" {
			continue
		}
		nid, typ, err := im.Lookup(&n, name)
		if err != nil {
			t.Fatalf("%q of %q: %v", name, at, err)
		}
		if n, err = im.Inode(nid); err != nil {
			t.Fatal(err)
		}
		if typ != uint8(n.Mode>>12) {
			t.Fatalf("%q: entry says type %d, inode %#o", at, typ, n.Mode)
		}
	}
	return n
}

// readAll reads a file or a link's target through extents.
func readAll(t testing.TB, im *Image, n *Inode, files [][]byte) []byte {
	t.Helper()
	if n.IsSymlink() {
		b, err := im.ReadInline(n)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var all []byte
	for {
		e, err := im.Extent(n, int64(len(all)))
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e.Device {
		case Hole:
			all = append(all, make([]byte, e.Length)...)
		case Inline:
			b, err := im.ReadInline(n)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b[e.Offset:e.Offset+e.Length]...)
		default:
			all = append(all, files[e.Device][e.Offset:e.Offset+e.Length]...)
		}
	}
}

func TestEverythingReadsBack(t *testing.T) {
	m := everything(BlockSize)
	im, err := Open(m.image(t))
	if err != nil {
		t.Fatal(err)
	}
	if im.Inodes() != uint64(m.Len()) || im.Devices() != len(m.devices) {
		t.Fatalf("%d inodes, %d devices", im.Inodes(), im.Devices())
	}
	for i, want := range m.devices {
		if d, err := im.Device(i); err != nil || d != want {
			t.Errorf("device %d: %v, %v", i, d, err)
		}
	}
	m.each(0, "/", func(at string, i int) { compareNode(t, m, im, at, i) })
}

func compareNode(t *testing.T, m *memory, im *Image, at string, i int) {
	t.Helper()
	n, want := walk(t, im, at), m.nodes[i].inode
	got := n
	want.Nid, want.place = n.Nid, n.place
	if n.IsDir() {
		want.Size = n.Size
		compareEntries(t, m, im, at, i, &n)
	}
	if got != want {
		t.Errorf("%q: got %+v, want %+v", at, got, want)
	}
	if n.IsRegular() || n.IsSymlink() {
		if !bytes.Equal(readAll(t, im, &n, m.files), m.nodes[i].data) {
			t.Errorf("%q: content differs", at)
		}
	}
	compareXattrs(t, im, at, &n, m.nodes[i].xattrs)
}

func compareXattrs(t *testing.T, im *Image, at string, n *Inode, want []Xattr) {
	t.Helper()
	want = slices.Clone(want)
	slices.SortFunc(want, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	var got []Xattr
	if err := im.Xattrs(n, func(name string, value []byte) bool {
		got = append(got, Xattr{name, value})
		return true
	}); err != nil {
		t.Fatal(err)
	}
	equal := func(a, b Xattr) bool { return a.Name == b.Name && bytes.Equal(a.Value, b.Value) }
	if !slices.EqualFunc(got, want, equal) || n.HasXattrs() != (len(want) > 0) {
		t.Errorf("%q: extended attributes %.200q, want %.200q", at, got, want)
	}
	for _, x := range want {
		if v, err := im.Xattr(n, x.Name); err != nil || !bytes.Equal(v, x.Value) {
			t.Errorf("%q: %s: %v", at, x.Name, err)
		}
	}
	if _, err := im.Xattr(n, "user.none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%q: Xattr of none: %v", at, err)
	}
}

func compareEntries(t *testing.T, m *memory, im *Image, at string, i int, n *Inode) {
	t.Helper()
	want := []string{".", ".."}
	for _, c := range m.nodes[i].children {
		want = append(want, c.name)
	}
	slices.Sort(want)
	var got []string
	var cookies []uint64
	if err := im.ReadDir(n, 0, func(d Dirent) bool {
		got = append(got, string(d.Name))
		cookies = append(cookies, d.Next)
		if nid, typ, err := im.Lookup(n, string(d.Name)); err != nil || nid != d.Nid || typ != d.Type {
			t.Errorf("%q in %q: Lookup says %d %d %v, ReadDir %+v", d.Name, at, nid, typ, err, d)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Fatalf("%q: entries %q, want %q", at, got, want)
	}
	for k, cookie := range cookies { // from every place on
		var rest []string
		if err := im.ReadDir(n, cookie, func(d Dirent) bool { rest = append(rest, string(d.Name)); return true }); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(rest, want[k+1:]) {
			t.Fatalf("%q from cookie %d: %q, want %q", at, cookie, rest, want[k+1:])
		}
	}
	for dot, inode := range map[string]int{".": i, "..": m.nodes[i].parent} {
		nid, _, err := im.Lookup(n, dot)
		if err != nil {
			t.Fatal(err)
		}
		target, err := im.Inode(nid)
		if err != nil || target.UID != m.nodes[inode].inode.UID || !target.IsDir() {
			t.Errorf("%q: %s leads to %+v, %v", at, dot, target, err)
		}
	}
}

func TestSameSourceSameBytes(t *testing.T) {
	if !bytes.Equal(everything(BlockSize).image(t), everything(BlockSize).image(t)) {
		t.Error("two images of one tree differ")
	}
}

func TestLookupMisses(t *testing.T) {
	m := everything(BlockSize)
	im, err := Open(m.image(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "/names", "/long", "/exact", "/types/sticky"} {
		n := walk(t, im, dir)
		for _, name := range []string{"", "\x00", "\x01\x01", "00", "nothing", "\xff\xff", "typ", "typess", strings.Repeat("z", 1000), strings.Repeat("0", MaxName-1)} {
			if nid, _, err := im.Lookup(&n, name); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%q in %s: inode %d, %v", name, dir, nid, err)
			}
		}
	}
	file := walk(t, im, "/hard2")
	if _, _, err := im.Lookup(&file, "x"); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Lookup in a file: %v", err)
	}
}

func TestReadsDoNotAllocate(t *testing.T) {
	m := everything(BlockSize)
	im, err := Open(m.image(t))
	if err != nil {
		t.Fatal(err)
	}
	names, hole, some := walk(t, im, "/names"), walk(t, im, "/files/holes-mid"), walk(t, im, "/xattrs/some")
	check := func(ok bool) {
		if !ok {
			t.Error("wrong answer")
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		_, err := im.Inode(names.Nid)
		check(err == nil)
		_, _, err = im.Lookup(&names, "k")
		check(err == nil)
		_, _, err = im.Lookup(&names, "kk")
		check(err == fs.ErrNotExist)
		_, err = im.Extent(&hole, 5<<20)
		check(err == nil)
		_, err = im.Xattr(&some, "user.a")
		check(err == nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestExtentsAreLongest(t *testing.T) {
	m := everything(BlockSize)
	im, err := Open(m.image(t))
	if err != nil {
		t.Fatal(err)
	}
	const piece = 4 << 20
	for _, c := range []struct {
		file string
		off  int64
		want Extent
	}{
		{"large", 1000, Extent{1, 1000, 5<<20 + 77 - 1000}},
		{"packed1", 5, Extent{0, 3*BlockSize + 5, 2*BlockSize + 37 - 5}},
		{"holes-mid", 0, Extent{3, 0, piece}},
		{"holes-mid", piece + 3, Extent{Hole, 0, 2*piece - 3}},
		{"holes-mid", 3*piece + 9, Extent{3, 3*piece + 9, piece - 9}},
		{"holes-begin", piece - 1, Extent{Hole, 0, 1}},
		{"holes-begin", piece, Extent{2, piece, 2*piece + 100}},
		{"holes-all", 7, Extent{Hole, 0, piece + 1 - 7}},
		{"tiny256", 6, Extent{Inline, 6, 250}},
	} {
		n := walk(t, im, path.Join("files", c.file))
		if e, err := im.Extent(&n, c.off); err != nil || e != c.want {
			t.Errorf("%s at %d: %+v, %v; want %+v", c.file, c.off, e, err, c.want)
		}
	}
	n := walk(t, im, "/files/large")
	for off, want := range map[int64]error{-1: fs.ErrInvalid, n.Size: io.EOF, 1 << 62: io.EOF} {
		if _, err := im.Extent(&n, off); err != want {
			t.Errorf("Extent at %d: %v", off, err)
		}
	}
	if _, err := im.ReadInline(&n); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("ReadInline of a large file: %v", err)
	}
}
