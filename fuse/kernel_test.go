//go:build linux

package fuse

import (
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// everything has a file of each kind, with all that may be odd about it.
func everything() *tree {
	t := newTree()
	t.dir("bin")
	t.dir("dev")
	t.dir("deep")
	t.dir("deep/er")
	t.inline("bin/small", []byte("tiny")).Mode = erofs.ModeRegular | 0o4755
	t.inline("empty", nil)
	old := t.inline("old", []byte("x"))
	old.Sec, old.Nsec, old.UID, old.GID = -86400*365*30, 123456789, 70000, 80000
	t.inline("future", []byte("x")).Sec = 1 << 33
	pack := t.object(noise(5, 300_000))
	t.packed("deep/er/packed", pack, 1024, 200_000)
	t.packed("deep/er/packed2", pack, 0, 1000)
	t.link("deep/link", "deep/er/packed")
	t.link("another", "deep/er/packed")
	data := make([]byte, 3*chunk.Size+4321)
	copy(data, noise(6, chunk.Size))
	copy(data[2*chunk.Size:], noise(7, chunk.Size))
	t.file("sparse", data)
	t.file("large", noise(8, 2*chunk.Size+77))
	t.symlink("abs", "/etc/passwd")
	t.symlink("long", strings.Repeat("a/", 2000))
	t.add("dev/null", erofs.Inode{Mode: erofs.ModeChar | 0o666, Rdev: unix.Mkdev(1, 3)})
	t.add("dev/odd", erofs.Inode{Mode: erofs.ModeBlock | 0o600, Rdev: unix.Mkdev(4095, 1<<20-1)})
	t.add("dev/whiteout", erofs.Inode{Mode: erofs.ModeChar})
	t.add("fifo", erofs.Inode{Mode: erofs.ModeFifo | 0o644})
	t.add("socket", erofs.Inode{Mode: erofs.ModeSocket | 0o755})
	t.inline("na\nme \xff", []byte("odd"))
	t.inline(strings.Repeat("n", 255), []byte("long"))
	x := t.inline("capable", []byte("x"))
	x.xattrs = []erofs.Xattr{
		{Name: "security.capability", Value: []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")},
		{Name: "trusted.t", Value: []byte("t")},
		{Name: "user.a", Value: []byte("value")},
		{Name: "user.long", Value: noise(9, 3000)},
	}
	t.at("deep").xattrs = []erofs.Xattr{{Name: "user.dir", Value: []byte("d")}}
	t.at("").xattrs = []erofs.Xattr{{Name: "user.root", Value: []byte("r")}}
	t.at("bin").Mode = erofs.ModeDir | 0o1777
	return t
}

func TestKernelSeesTheTree(t *testing.T) {
	tr := everything()
	_, im, img := withImage(t, Default(), tr, newMemory(t, tr.objects...))
	var all map[string]found
	run(t, &all, "walk", img)
	inos := map[uint64]*treeNode{}
	want := 0
	tr.walk(func(path string, n *treeNode) {
		want++
		got := all[path]
		if other, seen := inos[got.Ino]; seen && other != n || !seen && got.Ino>>40 != 7 {
			t.Errorf("%q: inode number %#x", path, got.Ino)
		}
		inos[got.Ino] = n
		compareFound(t, path, n, got)
	})
	if len(all) != want || len(inos) != tr.Len() {
		t.Errorf("%d names and %d inodes, not %d and %d", len(all), len(inos), want, tr.Len())
	}
	if s := im.Status(); s.Errors != 0 {
		t.Errorf("%+v", s)
	}
}

func compareFound(t *testing.T, path string, n *treeNode, got found) {
	t.Helper()
	is := func(what string, got, want any) {
		if got != want {
			t.Errorf("%q: %s is %v, not %v", path, what, got, want)
		}
	}
	is("mode", got.Mode, n.Mode)
	is("uid", got.UID, n.UID)
	is("gid", got.GID, n.GID)
	is("nlink", got.Nlink, uint64(n.Nlink))
	is("rdev", got.Rdev, n.Rdev)
	is("seconds", got.Sec, n.Sec)
	is("nanoseconds", got.Nsec, int64(n.Nsec))
	is("atime", got.Atime, true)
	is("ctime", got.Ctime, true)
	xattrs := map[string]string{}
	for _, x := range n.xattrs {
		xattrs[x.Name] = hex.EncodeToString(x.Value)
	}
	is("xattrs", fmt.Sprint(got.Xattrs), fmt.Sprint(xattrs))
	switch {
	case n.IsSymlink():
		is("target", got.Target, string(n.content.Inline))
		is("size", got.Size, n.Size)
	case n.IsRegular():
		is("size", got.Size, n.Size)
		sum := chunk.SumBytes(n.data)
		is("content", got.Sum, sum.Hex())
		holes := int64(0)
		if n.content.Holes != nil {
			for i := range n.content.Holes.Len() {
				if n.content.Holes.Has(i) {
					holes += chunk.Length(n.Size, i)
				}
			}
		}
		is("blocks", got.Blocks, (n.Size-holes+511)/512)
	}
}

func TestKernelListsALargeDirectory(t *testing.T) {
	tr := newTree()
	tr.dir("d")
	const files = 100_000
	for i := range files {
		tr.inline(fmt.Sprintf("d/file-%06d", i), nil)
	}
	_, _, img := withImage(t, Default(), tr, newMemory(t))
	var count int
	if run(t, &count, "seekdir", img+"/d"); count != files+2 {
		t.Errorf("%d entries", count)
	}
	if run(t, &count, "seekdir", img+"/d"); count != files+2 { // from the kernel's cache
		t.Errorf("%d entries", count)
	}
}

func TestKernelMapsAndFindsHoles(t *testing.T) {
	tr := everything()
	for _, pass := range []bool{true, false} {
		cfg := Default()
		cfg.Passthrough = pass
		_, _, img := withImage(t, cfg, tr, newMemory(t, tr.objects...))
		for _, name := range []string{"sparse", "large", "deep/er/packed"} {
			var sum string
			if run(t, &sum, "mmap", img+"/"+name); sum != chunk.SumBytes(tr.at(name).data).Hex() {
				t.Errorf("%s mapped is not what it should be", name)
			}
		}
		var runs []int64
		run(t, &runs, "runs", img+"/sparse")
		if want := []int64{0, chunk.Size, 2 * chunk.Size, 3 * chunk.Size}; !slices.Equal(runs, want) {
			t.Errorf("runs at %v, not %v", runs, want)
		}
	}
}

func TestKernelRefusesChanges(t *testing.T) {
	tr := newTree()
	tr.inline("f", []byte("x")).xattrs = []erofs.Xattr{{Name: "user.a"}}
	tr.dir("sub")
	_, _, img := withImage(t, Default(), tr, newMemory(t))
	var texts map[string]string
	run(t, &texts, "change", img)
	for what, errno := range texts {
		if errno != "EROFS" {
			t.Errorf("%s: %s", what, errno)
		}
	}
	if len(texts) < 15 {
		t.Errorf("%d changes tried", len(texts))
	}
}

func TestKernelRunsPrograms(t *testing.T) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	tr := newTree()
	tr.file("plain", program).Mode = erofs.ModeRegular | 0o755
	set := tr.packed("setuid", 0, 0, int64(len(program)))
	set.Mode, set.UID = erofs.ModeRegular|0o4755, 12345
	m := newMemory(t, program)
	m.lazy = true // it comes while it runs
	_, _, img := withImage(t, Default(), tr, m)
	for name, euid := range map[string]int{"plain": 65534, "setuid": 12345} {
		var ids map[string]int
		run(t, &ids, "exec", img+"/"+name)
		if ids["uid"] != 65534 || ids["euid"] != euid {
			t.Errorf("%s ran as %v", name, ids)
		}
	}
}

func TestKernelChecksPermissions(t *testing.T) {
	tr := newTree()
	tr.inline("private", []byte("x")).Mode = erofs.ModeRegular | 0o600
	tr.inline("public", []byte("x")).Mode = erofs.ModeRegular | 0o604
	acl := tr.inline("acl", []byte("x"))
	acl.Mode = erofs.ModeRegular | 0o640
	acl.xattrs = []erofs.Xattr{{Name: "system.posix_acl_access", Value: aclFor(4242)}}
	_, _, img := withImage(t, Default(), tr, newMemory(t))
	for uid, want := range map[string][]string{
		"4242": {"EACCES", "<nil>", "<nil>"}, "4243": {"EACCES", "<nil>", "EACCES"}, "0": {"<nil>", "<nil>", "<nil>"},
	} {
		var got []string
		run(t, &got, "access", uid, img+"/private", img+"/public", img+"/acl")
		if !slices.Equal(got, want) {
			t.Errorf("user %s: %q, not %q", uid, got, want)
		}
	}
}

// aclFor is a list that lets one user read, in the form of the attribute.
func aclFor(uid uint32) []byte {
	b := []byte{2, 0, 0, 0}
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, math.MaxUint32}, {2, 4, uid}, {4, 0, math.MaxUint32}, {16, 4, math.MaxUint32}, {32, 0, math.MaxUint32}} {
		b = append(b, byte(e.tag), 0, byte(e.perm), 0, byte(e.id), byte(e.id>>8), byte(e.id>>16), byte(e.id>>24))
	}
	return b
}

func TestKernelStatfs(t *testing.T) {
	tr := everything()
	_, im, img := withImage(t, Default(), tr, newMemory(t, tr.objects...))
	var st unix.Statfs_t
	run(t, &st, "statfs", img)
	if st.Blocks != (im.bytes+4095)/4096 || st.Files != uint64(tr.Len()) || st.Bfree != 0 || st.Bavail != 0 || st.Ffree != 0 || st.Bsize != 4096 {
		t.Errorf("%+v", st)
	}
	if st.Flags&unix.ST_RDONLY == 0 || st.Flags&(unix.ST_NOSUID|unix.ST_NODEV|unix.ST_NOEXEC) != 0 {
		t.Errorf("flags %#x", st.Flags)
	}
}

func TestKernelOpensByHandle(t *testing.T) {
	tr := newTree()
	tr.dir("a")
	tr.dir("a/b")
	tr.inline("a/b/f", []byte("found again"))
	_, _, img := withImage(t, Default(), tr, newMemory(t))
	var text string
	if run(t, &text, "handle", img, img+"/a/b/f"); text != "found again" {
		t.Errorf("%q", text)
	}
}

func TestOverlays(t *testing.T) {
	tr := newTree()
	tr.inline("f", []byte("base"))
	for pass, want := range map[bool][]string{true: {"base+0", "EINVAL"}, false: {"base+0", "base+0+1"}} {
		cfg := Default()
		cfg.Passthrough = pass
		_, _, img := withImage(t, cfg, tr, newMemory(t))
		var got []string
		if run(t, &got, "overlay", img, t.TempDir(), "2"); !slices.Equal(got, want) {
			t.Errorf("passthrough %v: %q", pass, got)
		}
	}
}

func TestRemovedImageIsGone(t *testing.T) {
	tr := newTree()
	tr.file("f", noise(1, 3<<20))
	tr.inline("g", []byte("first"))
	m := newMemory(t, tr.objects...)
	f, _, img := withImage(t, Default(), tr, m)
	g := img + "/g"
	var sums map[string]string
	run(t, &sums, "sum", img+"/f", g)
	cmd := child(t, "hold", img+"/f") // in passthrough
	stdin, _ := cmd.StdinPipe()
	stdout, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if err := f.Remove(7); err != nil {
		t.Fatal(err)
	}
	if m.closed != 1 {
		t.Errorf("%d objects closed", m.closed)
	}
	var errnos []string
	if run(t, &errnos, "errno", img+"/f", g); !slices.Equal(errnos, []string{"ENOENT", "ENOENT"}) {
		t.Errorf("%q", errnos)
	}
	second := newTree()
	second.file("f", noise(2, 3<<20))
	second.inline("g", []byte("second"))
	if _, err := f.Add(7, "new", second.image(t), newMemory(t, second.objects...)); err != nil {
		t.Fatal(err)
	}
	again := strings.TrimSuffix(img, "img") + "new"
	run(t, &sums, "sum", again+"/f", again+"/g")
	if sums[again+"/f"] != chunk.SumBytes(second.at("f").data).Hex() || sums[again+"/g"] != chunk.SumBytes([]byte("second")).Hex() {
		t.Error("a later image of the same id has not its own content")
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	var names []string
	if run(t, &names, "names", strings.TrimSuffix(img, "/img")); !slices.Equal(names, []string{"new"}) {
		t.Errorf("%q", names)
	}
}
