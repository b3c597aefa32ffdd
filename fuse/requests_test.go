//go:build linux

package fuse

import (
	"bytes"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// direct gives the requests of a file system that is not mounted, with one image.
func direct(tb testing.TB, cfg Config, t *tree, c Content) (*requests, *Image) {
	tb.Helper()
	f, err := New(cfg, quiet(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	im, err := f.Add(7, "img", t.image(tb), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := f.removeAll(); err != nil {
			tb.Error(err)
		}
	})
	return &requests{refusals: newRefusals(), fs: f}, im
}

// node looks a path up from the root of images.
func (r *requests) path(tb testing.TB, path string) uint64 {
	tb.Helper()
	node := uint64(root)
	for _, name := range strings.Split(path, "/") {
		var out gofuse.EntryOut
		if st := r.Lookup(nil, &gofuse.InHeader{NodeId: node}, name, &out); st != gofuse.OK || out.NodeId == 0 {
			tb.Fatalf("%q of %q: %v", name, path, st)
		}
		node = out.NodeId
	}
	return node
}

func (r *requests) get(node uint64, off int64, n int) ([]byte, gofuse.Status) {
	buf := make([]byte, n)
	res, st := r.Read(nil, readIn(node, off, n), buf)
	if st != gofuse.OK {
		return nil, st
	}
	b, st := res.Bytes(buf)
	return b, st
}

func readIn(node uint64, off int64, n int) *gofuse.ReadIn {
	in := &gofuse.ReadIn{Offset: uint64(off), Size: uint32(n), Fh: 1}
	in.NodeId = node
	return in
}

func TestLookup(t *testing.T) {
	tr := newTree()
	tr.dir("d")
	tr.inline("d/f", []byte("x"))
	r, im := direct(t, Default(), tr, newMemory(t))
	d := r.path(t, "img/d")
	lookup := func(node uint64, name string) (gofuse.EntryOut, gofuse.Status) {
		var out gofuse.EntryOut
		st := r.Lookup(nil, &gofuse.InHeader{NodeId: node}, name, &out)
		return out, st
	}
	for _, c := range []struct {
		node uint64
		name string
		want gofuse.Status
	}{
		{root, "other", gofuse.ENOENT},
		{d, strings.Repeat("n", 256), gofuse.Status(syscall.ENAMETOOLONG)},
		{r.path(t, "img/d/f"), "x", gofuse.ENOTDIR},
		{nodeOf(8, 40), "x", stale},
		{nodeOf(7, 1<<38), "x", gofuse.EIO},
		{nodeOf(7, objectNid(0)), "x", gofuse.EIO}, // it has none
	} {
		if _, st := lookup(c.node, c.name); st != c.want {
			t.Errorf("%d %.10q: %v, not %v", c.node, c.name, st, c.want)
		}
	}
	if out, st := lookup(d, "absent"); st != gofuse.OK || out.NodeId != 0 || out.EntryTimeout() != Default().CacheFor {
		t.Errorf("an absent name: %v, node %d for %s", st, out.NodeId, out.EntryTimeout())
	}
	if out, st := lookup(d, ".."); st != gofuse.OK || out.NodeId != im.root {
		t.Errorf("..: %v, node %#x", st, out.NodeId)
	}
	if out, st := lookup(d, "."); st != gofuse.OK || out.NodeId != d || out.Generation != im.generation {
		t.Errorf(".: %v, node %#x", st, out.NodeId)
	}
	if out, st := lookup(root, ".."); st != gofuse.OK || out.NodeId != root {
		t.Errorf(".. of the root: %v, node %#x", st, out.NodeId)
	}
}

func TestAddRefusesWhatCannotBeNamed(t *testing.T) {
	tr := newTree()
	im := tr.image(t)
	r, _ := direct(t, Default(), tr, newMemory(t))
	for _, c := range []struct {
		id   uint32
		name string
	}{{0, "a"}, {MaxImage + 1, "a"}, {1, ""}, {1, "."}, {1, ".."}, {1, "a/b"}, {1, "a\x00"}, {1, strings.Repeat("a", 256)}, {1, "a" + objectsSuffix}, {7, "new"}, {8, "img"}} {
		if _, err := r.fs.Add(c.id, c.name, im, newMemory(t)); err == nil {
			t.Errorf("added %d %q", c.id, c.name)
		}
	}
	if err := r.fs.Remove(9); err == nil {
		t.Error("removed an image that is not there")
	}
	if _, err := r.fs.Add(MaxImage, strings.Repeat("a", 255), im, newMemory(t)); err != nil {
		t.Error(err)
	}
}

func TestReadsEveryKindOfContent(t *testing.T) {
	tr := newTree()
	small := noise(1, 300)
	pack := noise(2, 10_000)
	big := append(append(noise(3, chunk.Size), make([]byte, chunk.Size)...), noise(4, 1000)...)
	tr.inline("small", small)
	tr.inline("empty", nil)
	p := tr.object(pack)
	tr.packed("packed", p, 512, 5000)
	tr.file("big", big)
	r, im := direct(t, Default(), tr, newMemory(t, tr.objects...))
	for name, want := range map[string][]byte{"small": small, "empty": nil, "packed": pack[512:5512], "big": big} {
		node := r.path(t, "img/"+name)
		for _, off := range []int64{0, 1, 299, 4000, 5000, chunk.Size - 1, 2*chunk.Size - 10, 2*chunk.Size + 999, math.MaxInt64} {
			for _, n := range []int{0, 1, 4096, 1 << 20} {
				wanted := want[min(off, int64(len(want))):min(satSum(off, n), int64(len(want)))]
				if got, st := r.get(node, off, n); st != gofuse.OK || !bytes.Equal(got, wanted) {
					t.Fatalf("%s at %d+%d: %v, %d bytes, not %d", name, off, n, st, len(got), len(wanted))
				}
			}
		}
	}
	if _, st := r.get(im.root, 0, 10); st != gofuse.EINVAL {
		t.Errorf("read of a directory: %v", st)
	}
	if s := im.Status(); s.Reads == 0 || s.Bytes == 0 || s.Errors != 0 || len(s.Waits) != 0 {
		t.Errorf("status %+v", s)
	}
}

// valueOf reads a counter or a gauge.
func valueOf(tb testing.TB, m prometheus.Metric) float64 {
	tb.Helper()
	var out dto.Metric
	if err := m.Write(&out); err != nil {
		tb.Fatal(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}

func satSum(off int64, n int) int64 {
	if off > math.MaxInt64-int64(n) {
		return math.MaxInt64
	}
	return off + int64(n)
}

func TestSeekFindsHoles(t *testing.T) {
	tr := newTree()
	data := make([]byte, 4*chunk.Size+100)
	copy(data, noise(1, chunk.Size))
	copy(data[3*chunk.Size:], noise(2, 100))
	tr.file("sparse", data)
	tr.inline("small", []byte("x"))
	r, im := direct(t, Default(), tr, newMemory(t, tr.objects...))
	node := r.path(t, "img/sparse")
	for _, c := range []struct {
		off    uint64
		whence uint32
		want   uint64
		st     gofuse.Status
	}{
		{0, unix.SEEK_DATA, 0, gofuse.OK},
		{0, unix.SEEK_HOLE, chunk.Size, gofuse.OK},
		{chunk.Size + 5, unix.SEEK_HOLE, chunk.Size + 5, gofuse.OK},
		{chunk.Size + 5, unix.SEEK_DATA, 3 * chunk.Size, gofuse.OK},
		{3*chunk.Size + 1, unix.SEEK_HOLE, 4 * chunk.Size, gofuse.OK},
		{4 * chunk.Size, unix.SEEK_DATA, 0, gofuse.Status(unix.ENXIO)},
		{4*chunk.Size + 100, unix.SEEK_HOLE, 0, gofuse.Status(unix.ENXIO)},
		{math.MaxUint64, unix.SEEK_HOLE, 0, gofuse.Status(unix.ENXIO)},
		{0, unix.SEEK_SET, 0, gofuse.EINVAL},
	} {
		in := &gofuse.LseekIn{Offset: c.off, Whence: c.whence}
		in.NodeId = node
		var out gofuse.LseekOut
		if st := r.Lseek(nil, in, &out); st != c.st || out.Offset != c.want {
			t.Errorf("seek %d from %d: %v, %d", c.whence, c.off, st, out.Offset)
		}
	}
	in := &gofuse.LseekIn{Whence: unix.SEEK_HOLE}
	in.NodeId = r.path(t, "img/small")
	var out gofuse.LseekOut
	if st := r.Lseek(nil, in, &out); st != gofuse.OK || out.Offset != 1 {
		t.Errorf("hole of a file without: %v, %d", st, out.Offset)
	}
	if in.NodeId = im.root; r.Lseek(nil, in, &out) != gofuse.EINVAL {
		t.Error("seek in a directory")
	}
	var attr gofuse.AttrOut
	get := &gofuse.GetAttrIn{}
	get.NodeId = node
	if st := r.GetAttr(nil, get, &attr); st != gofuse.OK || attr.Blocks != 2*chunk.Size/512 {
		t.Errorf("%v, %d blocks", st, attr.Blocks)
	}
}

func TestXattrBuffers(t *testing.T) {
	tr := newTree()
	tr.inline("f", []byte("x")).xattrs = []erofs.Xattr{{Name: "user.a", Value: []byte("value")}, {Name: "user.empty"}}
	r, _ := direct(t, Default(), tr, newMemory(t))
	h := &gofuse.InHeader{NodeId: r.path(t, "img/f")}
	for _, c := range []struct {
		name string
		room int
		n    uint32
		st   gofuse.Status
	}{{"user.a", 0, 5, gofuse.ERANGE}, {"user.a", 4, 5, gofuse.ERANGE}, {"user.a", 5, 5, gofuse.OK}, {"user.a", 100, 5, gofuse.OK}, {"user.empty", 0, 0, gofuse.OK}, {"user.b", 9, 0, gofuse.ENODATA}} {
		dest := make([]byte, c.room)
		if n, st := r.GetXAttr(nil, h, c.name, dest); n != c.n || st != c.st || st == gofuse.OK && !strings.HasPrefix("value", string(dest[:n])) {
			t.Errorf("%s with %d: %d, %v, %q", c.name, c.room, n, st, dest)
		}
	}
	if n, st := r.ListXAttr(nil, h, nil); n != 18 || st != gofuse.ERANGE {
		t.Errorf("length of the list: %d, %v", n, st)
	}
	dest := make([]byte, 18)
	n, st := r.ListXAttr(nil, h, dest)
	names := strings.Split(strings.TrimSuffix(string(dest[:n]), "\x00"), "\x00")
	if slices.Sort(names); st != gofuse.OK || !slices.Equal(names, []string{"user.a", "user.empty"}) {
		t.Errorf("list: %v %q", st, names)
	}
	at := &gofuse.InHeader{NodeId: root}
	if _, st := r.GetXAttr(nil, at, "user.a", nil); st != gofuse.ENODATA {
		t.Error(st)
	}
	if n, st := r.ListXAttr(nil, at, nil); n != 0 || st != gofuse.OK {
		t.Error(n, st)
	}
}

func TestStatfsIsNeverEmpty(t *testing.T) {
	tr := newTree()
	tr.file("f", noise(1, 10_000))
	r, im := direct(t, Default(), tr, newMemory(t, tr.objects...))
	empty := newTree()
	if _, err := r.fs.Add(1, "empty", empty.image(t), newMemory(t)); err != nil {
		t.Fatal(err)
	}
	for node, want := range map[uint64][2]uint64{im.root: {3, 2}, r.path(t, "empty"): {1, 1}, root: {3, 3}} {
		var out gofuse.StatfsOut
		st := r.StatFs(nil, &gofuse.InHeader{NodeId: node}, &out)
		if st != gofuse.OK || out.Blocks != want[0] || out.Files != want[1] || out.Bfree != 0 || out.Bavail != 0 || out.Bsize == 0 || out.NameLen != 255 {
			t.Errorf("%#x: %v %+v", node, st, out)
		}
	}
}

func TestRootListsImagesAtStableOffsets(t *testing.T) {
	r, _ := direct(t, Default(), newTree(), newMemory(t))
	for id, name := range map[uint32]string{3: "three", 9: "nine"} {
		if _, err := r.fs.Add(id, name, newTree().image(t), newMemory(t)); err != nil {
			t.Fatal(err)
		}
	}
	list := func(from uint64, plus bool) (names []string) {
		out := gofuse.NewDirEntryList(make([]byte, 4096), from)
		in := readIn(root, int64(from), 4096)
		if plus {
			r.ReadDirPlus(nil, in, out)
			entries, _, _ := gofuse.ParseDirLookupEntries(out.Bytes())
			for _, e := range entries {
				names = append(names, e.Name)
			}
			return names
		}
		r.ReadDir(nil, in, out)
		entries, _ := gofuse.ParseDirEntries(out.Bytes())
		for _, e := range entries {
			names = append(names, e.Name)
		}
		return names
	}
	for _, plus := range []bool{false, true} {
		if got := list(0, plus); !slices.Equal(got, []string{".", "..", "three", "img", "nine"}) {
			t.Error(got)
		}
	}
	if err := r.fs.Remove(3); err != nil {
		t.Fatal(err)
	}
	if got := list(5, false); !slices.Equal(got, []string{"img", "nine"}) {
		t.Errorf("after three: %q", got)
	}
}

func TestEveryChangeIsRefused(t *testing.T) {
	r, _ := direct(t, Default(), newTree(), newMemory(t))
	h := &gofuse.InHeader{}
	_, written := r.Write(nil, &gofuse.WriteIn{}, nil)
	_, writtenv := r.Writev(nil, &gofuse.WriteIn{}, nil)
	_, copied := r.CopyFileRange(nil, &gofuse.CopyFileRangeIn{})
	for name, st := range map[string]gofuse.Status{
		"setattr":     r.SetAttr(nil, &gofuse.SetAttrIn{}, nil),
		"mknod":       r.Mknod(nil, &gofuse.MknodIn{}, "", nil),
		"mkdir":       r.Mkdir(nil, &gofuse.MkdirIn{}, "", nil),
		"unlink":      r.Unlink(nil, h, ""),
		"rmdir":       r.Rmdir(nil, h, ""),
		"rename":      r.Rename(nil, &gofuse.RenameIn{}, "", ""),
		"link":        r.Link(nil, &gofuse.LinkIn{}, "", nil),
		"symlink":     r.Symlink(nil, h, "", "", nil),
		"setxattr":    r.SetXAttr(nil, &gofuse.SetXAttrIn{}, "", nil),
		"removexattr": r.RemoveXAttr(nil, h, ""),
		"create":      r.Create(nil, &gofuse.CreateIn{}, "", nil),
		"tmpfile":     r.Tmpfile(nil, &gofuse.CreateIn{}, nil),
		"write":       written, "writev": writtenv, "copy": copied,
		"fallocate":     r.Fallocate(nil, &gofuse.FallocateIn{}),
		"open to write": r.Open(nil, &gofuse.OpenIn{Flags: syscall.O_RDWR}, &gofuse.OpenOut{}),
	} {
		if st != gofuse.Status(syscall.EROFS) {
			t.Errorf("%s: %v", name, st)
		}
	}
}

func TestNodesOfOtherTypesAreRefused(t *testing.T) {
	tr := newTree()
	tr.inline("f", []byte("x"))
	r, im := direct(t, Default(), tr, newMemory(t))
	f := r.path(t, "img/f")
	if _, st := r.Readlink(nil, &gofuse.InHeader{NodeId: f}); st != gofuse.EINVAL {
		t.Error("readlink of a file:", st)
	}
	out := gofuse.NewDirEntryList(make([]byte, 4096), 0)
	if st := r.ReadDir(nil, readIn(f, 0, 4096), out); st != gofuse.ENOTDIR {
		t.Error("readdir of a file:", st)
	}
	open := &gofuse.OpenIn{}
	if open.NodeId = im.root; r.Open(nil, open, &gofuse.OpenOut{}) != gofuse.EINVAL {
		t.Error("open of a directory")
	}
	if err := r.fs.Remove(7); err != nil {
		t.Fatal(err)
	}
	if open.NodeId = f; r.Open(nil, open, &gofuse.OpenOut{}) != stale {
		t.Error("open in an image that is gone")
	}
	if _, st := r.get(f, 0, 1); st != stale {
		t.Error("read in an image that is gone:", st)
	}
	if im.hold() {
		t.Error("an image that is gone can be held")
	}
}

func TestConfigTellsEveryProblem(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Fatal(err)
	}
	err := Config{MaxRead: 1, ReadAhead: -1, Deadline: -1}.Validate()
	for _, what := range []string{"largest read", "read-ahead", "deadline"} {
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("no word of %s in: %v", what, err)
		}
	}
	if _, err := New(Config{}, quiet(), nil); err == nil {
		t.Error("made a file system without settings")
	}
}

func TestDeviceOfAMount(t *testing.T) {
	info := "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n" +
		"37 35 0:50 / /a\\040b ro - fuse.shoal shoal ro\n38 35 0:51 / /a\\040b ro - fuse.shoal shoal ro\n"
	if d, err := deviceOf("/a b", strings.NewReader(info)); err != nil || d != "0:51" {
		t.Errorf("%q, %v", d, err)
	}
	if _, err := deviceOf("/other", strings.NewReader(info)); err == nil {
		t.Error("found a mount that is not there")
	}
}
