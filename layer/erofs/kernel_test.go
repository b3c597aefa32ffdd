//go:build linux

package erofs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
)

// mounted writes m and its devices to files and has the kernel mount them.
func mounted(t *testing.T, m *memory) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIP: mounting needs root")
	}
	tree, devices := onDisk(t, m.image(t), m)
	target := t.TempDir()
	err := Mount(tree, devices, 1<<20, target)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EPERM) {
		t.Skipf("SKIP: the kernel cannot mount EROFS from files here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(target, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return target
}

// onDisk writes an image and the devices of m to files. Zeros become holes.
func onDisk(t *testing.T, image []byte, m *memory) (tree string, devices []string) {
	t.Helper()
	dir := t.TempDir()
	tree = filepath.Join(dir, "tree")
	if err := os.WriteFile(tree, image, 0o600); err != nil {
		t.Fatal(err)
	}
	for i, d := range m.devices {
		path := filepath.Join(dir, d.Object.Hex()+fmt.Sprint(i))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(f.Truncate(d.Size), writeSparse(f, m.files[i]), f.Close()); err != nil {
			t.Fatal(err)
		}
		devices = append(devices, path)
	}
	return tree, devices
}

func writeSparse(f *os.File, data []byte) error {
	zero := make([]byte, 64<<10)
	for off := 0; off < len(data); off += len(zero) {
		part := data[off:min(off+len(zero), len(data))]
		if bytes.Equal(part, zero[:len(part)]) {
			continue
		}
		if _, err := f.WriteAt(part, int64(off)); err != nil {
			return err
		}
	}
	return nil
}

func TestKernelReadsEverything(t *testing.T) {
	m := everything(BlockSize)
	root := mounted(t, m)
	seen := map[int]uint64{}
	paths := map[string]bool{}
	m.each(0, "/", func(at string, i int) {
		compareWithKernel(t, root+at, m.nodes[i])
		paths[at] = true
		var st unix.Stat_t
		if err := unix.Lstat(root+at, &st); err != nil {
			t.Fatal(err)
		}
		if ino, ok := seen[i]; ok && ino != st.Ino {
			t.Errorf("%q: other names of the inode have number %d, not %d", at, ino, st.Ino)
		}
		seen[i] = st.Ino
	})
	found := map[string]bool{}
	if err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		found[filepath.Join("/", strings.TrimPrefix(path, root))] = true
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(found, paths) {
		t.Errorf("the kernel lists %d names, the tree has %d", len(found), len(paths))
	}
}

func compareWithKernel(t *testing.T, path string, want *node) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Errorf("%q: %v", path, err)
		return
	}
	got := Inode{Mode: st.Mode, UID: st.Uid, GID: st.Gid, Nlink: uint32(st.Nlink), Size: st.Size,
		Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec), Rdev: st.Rdev}
	expect := want.inode
	if expect.IsDir() {
		expect.Size = got.Size
	}
	if got != expect {
		t.Errorf("%q: the kernel says %+v, want %+v", path, got, expect)
	}
	switch {
	case expect.IsSymlink():
		if target, err := os.Readlink(path); err != nil || target != string(want.data) {
			t.Errorf("%q: target %.40q, %v", path, target, err)
		}
	case expect.IsRegular():
		b, err := os.ReadFile(path)
		if err != nil || sha256.Sum256(b) != sha256.Sum256(want.data) {
			t.Errorf("%q: content differs: %d bytes of %d, %v", path, len(b), len(want.data), err)
		}
		compareHoles(t, path, want)
	}
	compareKernelXattrs(t, path, want.xattrs)
}

func compareKernelXattrs(t *testing.T, path string, want []Xattr) {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Errorf("%q: %v", path, err)
		return
	}
	var names, wanted []string
	if n > 0 {
		names = strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	}
	for _, x := range want {
		wanted = append(wanted, x.Name)
		n, err := unix.Lgetxattr(path, x.Name, buf)
		if err != nil || !bytes.Equal(buf[:n], x.Value) {
			t.Errorf("%q: %s: %.40q, %v, want %.40q", path, x.Name, buf[:max(n, 0)], err, x.Value)
		}
	}
	slices.Sort(names)
	slices.Sort(wanted)
	if !slices.Equal(names, wanted) {
		t.Errorf("%q: attributes %.200q, want %.200q", path, names, wanted)
	}
}

// compareHoles seeks through a file: its holes must be those of the content.
func compareHoles(t *testing.T, path string, want *node) {
	t.Helper()
	if h := want.content.Holes; h == nil || want.inode.Size%BlockSize != 0 && !h.Has(h.Len()-1) {
		return // the kernel is not told
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range want.content.Holes.Len() {
		off := int64(i) * chunk.Size
		_, err := f.Seek(off, unix.SEEK_DATA)
		hole := errors.Is(err, unix.ENXIO)
		if err == nil {
			at, _ := f.Seek(off, unix.SEEK_DATA)
			hole = at != off
		}
		if hole != want.content.Holes.Has(i) {
			t.Errorf("%q: piece %d is a hole: %v to the kernel, %v in the tree", path, i, hole, !hole)
		}
	}
}

func TestKernelReadsALargeDirectory(t *testing.T) {
	m := newMemory()
	d := m.dir(0, "large")
	const n = 100_000
	for k := range n {
		m.add(d, fmt.Sprintf("an-entry-%07d", k*7), Inode{Mode: ModeRegular | 0o644})
	}
	root := mounted(t, m)
	entries, err := os.ReadDir(root + "/large")
	if err != nil || len(entries) != n {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for k := 0; k < n; k += 997 {
		name := fmt.Sprintf("an-entry-%07d", k*7)
		if entries[k].Name() != name {
			t.Fatalf("entry %d is %q", k, entries[k].Name())
		}
		if _, err := os.Lstat(root + "/large/" + name); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(root + "/large/" + name + "x"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a name that is not there: %v", err)
		}
	}
}

func TestKernelReadsManyDevices(t *testing.T) {
	const n = 3000
	m := newMemory()
	for k := range n {
		// Lengths around the ends of blocks and pages, content behind an unaligned begin.
		data := pattern(byte(k), 1+k*13%9000)
		off := int64(len(data)) / 2 / BlockSize * BlockSize
		m.file(0, fmt.Sprint(k), m.device(data), off, int64(len(data))-off)
	}
	root := mounted(t, m)
	for k := range n {
		b, err := os.ReadFile(fmt.Sprintf("%s/%d", root, k))
		if err != nil || !bytes.Equal(b, m.nodes[k+1].data) {
			t.Fatalf("file %d of %d bytes: %d bytes, %v", k, len(m.nodes[k+1].data), len(b), err)
		}
	}
}

// The last block of a device is cut short where the object ends; what the kernel
// maps or reads behind a file's end is zeros.
func TestKernelReadsTheLastPartOfADevice(t *testing.T) {
	m := newMemory()
	sizes := []int{1, 511, 512, 513, 1023, 4095, 4096, 4097, 8191, 70_001}
	for _, n := range sizes {
		data := pattern(byte(n), n)
		m.file(0, fmt.Sprint(n), m.device(data), 0, int64(n))
	}
	root := mounted(t, m)
	for i, n := range sizes {
		f, err := os.Open(fmt.Sprintf("%s/%d", root, n))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if err != nil || !bytes.Equal(b, m.nodes[i+1].data) {
			t.Errorf("%d bytes: got %d, %v", n, len(b), err)
		}
		pages, err := unix.Mmap(int(f.Fd()), 0, (n+4095)/4096*4096, unix.PROT_READ, unix.MAP_PRIVATE)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(pages[:n], m.nodes[i+1].data) || bytes.Trim(pages[n:], "\x00") != nil {
			t.Errorf("%d bytes: the map differs", n)
		}
		_ = unix.Munmap(pages)
	}
}

func TestMountRefuses(t *testing.T) {
	m := everything(BlockSize)
	tree, devices := onDisk(t, m.image(t), m)
	target := t.TempDir()
	if err := Mount(tree, devices[1:], 1<<20, target); err == nil || !strings.Contains(err.Error(), "objects") {
		t.Errorf("a device too few: %v", err)
	}
	swapped := slices.Clone(devices)
	swapped[0], swapped[1] = swapped[1], swapped[0]
	if err := Mount(tree, swapped, 1<<20, target); err == nil || !strings.Contains(err.Error(), "bytes") {
		t.Errorf("devices of other sizes: %v", err)
	}
	if err := Mount(devices[0], nil, 1<<20, target); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no image: %v", err)
	}
	if err := Mount(tree+"-none", devices, 1<<20, target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	long := slices.Clone(devices)
	long[0] = strings.Repeat("/.", 200) + long[0]
	if err := Mount(tree, long, 1<<20, target); err == nil {
		t.Error("a path that the kernel does not take")
	}
	if entries, err := os.ReadDir(target); err != nil || len(entries) != 0 {
		t.Errorf("mounted all the same: %v, %v", entries, err)
	}
}

// fsck.erofs is the second implementation that reads images. Releases before 1.6
// know 4,096-byte blocks alone, and do not find what lies in the address space of
// all devices; so it is given images of both block sizes, without tails, over
// whole blocks.
func TestFsckAccepts(t *testing.T) {
	fsck, err := exec.LookPath("fsck.erofs")
	if err != nil {
		t.Skip("SKIP: no fsck.erofs (package erofs-utils)")
	}
	t.Run("4096", func(t *testing.T) {
		if !runFsck(t, fsck, 12) {
			t.Error("it does not know blocks of 4,096 bytes")
		}
	})
	if !runFsck(t, fsck, 9) {
		t.Log("this fsck.erofs knows blocks of 4,096 bytes alone; those of 512 are checked by the kernel")
	}
}

// runFsck tells whether fsck knows blocks of this size.
func runFsck(t *testing.T, fsck string, bits uint) bool {
	t.Helper()
	m := everything(1 << bits)
	for i, d := range m.devices {
		m.files[i] = append(m.files[i], make([]byte, alignUp(d.Size, 1<<bits)-d.Size)...)
		m.devices[i].Size = int64(len(m.files[i]))
	}
	var b bytes.Buffer
	if _, err := write(&b, m, bits); err != nil {
		t.Fatal(err)
	}
	tree, devices := onDisk(t, b.Bytes(), m)
	out := t.TempDir()
	args := []string{"--overwrite", "--extract=" + out}
	for _, d := range devices {
		args = append(args, "--device="+d)
	}
	said, err := exec.Command(fsck, append(args, tree)...).CombinedOutput()
	if bytes.Contains(said, []byte("isn't supported on this platform")) {
		return false
	}
	if err != nil || bytes.Contains(said, []byte("<E>")) {
		t.Fatalf("%v: %s", err, said)
	}
	m.each(0, "/", func(at string, i int) {
		var got []byte
		var err error
		switch n := &m.nodes[i].inode; {
		case m.nodes[i].content.Holes != nil:
			return // releases before 1.6 leave holes out of what they extract
		case n.IsRegular():
			got, err = os.ReadFile(out + at)
		case n.IsSymlink():
			var target string
			target, err = os.Readlink(out + at)
			got = []byte(target)
		default:
			_, err = os.Lstat(out + at)
		}
		if err != nil || !bytes.Equal(got, m.nodes[i].data) {
			t.Errorf("%q: %d bytes of %d, %v", at, len(got), len(m.nodes[i].data), err)
		}
	})
	return true
}

// A tree without the last bytes of a file that ends in a short block is good for
// all but the kernel.
func TestMountRefusesShortBlocks(t *testing.T) {
	m := newMemory()
	data := pattern(1, 5000)
	i := m.file(0, "file", m.device(data), 0, 5000)
	m.nodes[i].content.Inline = nil
	image := m.image(t)
	im, err := Open(image)
	if err != nil {
		t.Fatal(err)
	}
	n := walk(t, im, "/file")
	if !bytes.Equal(readAll(t, im, &n, m.files), data) {
		t.Error("content differs")
	}
	tree, devices := onDisk(t, image, m)
	if err := Mount(tree, devices, 1<<20, t.TempDir()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Mount: %v", err)
	}
}
