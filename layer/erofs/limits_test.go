package erofs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

func TestWriteRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		want string
		make func(m *memory)
	}{
		{"root is a file", "root is not a directory", func(m *memory) { m.nodes[0].inode.Mode = ModeRegular }},
		{"no type", "mode", func(m *memory) { m.add(0, "x", Inode{Mode: 0o755}) }},
		{"wide mode", "mode", func(m *memory) { m.add(0, "x", Inode{Mode: 1<<16 | ModeFifo}) }},
		{"slash", "no file name", func(m *memory) { m.dir(0, "a/b") }},
		{"zero byte", "no file name", func(m *memory) { m.dir(0, "a\x00") }},
		{"empty name", "no file name", func(m *memory) { m.dir(0, "") }},
		{"dot", "no file name", func(m *memory) { m.dir(0, "..") }},
		{"long name", "no file name", func(m *memory) { m.dir(0, strings.Repeat("n", MaxName+1)) }},
		{"twice", "out of order", func(m *memory) { m.dir(0, "a"); m.dir(0, "a") }},
		{"root again", "inode 0", func(m *memory) { m.link(0, "a", 0) }},
		{"empty target", "target", func(m *memory) { m.inline(0, "a", ModeSymlink, nil) }},
		{"long target", "target", func(m *memory) { m.inline(0, "a", ModeSymlink, make([]byte, MaxTarget+1)) }},
		{"zero in target", "zero byte", func(m *memory) { m.inline(0, "a", ModeSymlink, []byte("a\x00")) }},
		{"large inline", "in the tree", func(m *memory) { m.inline(0, "a", ModeRegular, make([]byte, MaxInline+1)) }},
		{"nanoseconds", "nanoseconds", func(m *memory) { m.add(0, "a", Inode{Mode: ModeFifo, Nsec: 1e9}) }},
		{"wide device number", "device number", func(m *memory) { m.add(0, "a", Inode{Mode: ModeChar, Rdev: 1 << 32}) }},
		{"no device", "device 0 of 0", func(m *memory) { m.add(0, "a", Inode{Mode: ModeRegular, Size: 5}) }},
		{"past the device", "of a device", func(m *memory) { m.nodes[m.file(0, "a", m.device(make([]byte, 512)), 0, 512)].inode.Size = 513 }},
		{"unaligned", "of a device", func(m *memory) { m.file(0, "a", m.device(make([]byte, 2000)), 100, 600) }},
		{"hole bits", "hole bits", func(m *memory) {
			m.nodes[m.file(0, "a", m.device(make([]byte, 512)), 0, 512)].content.Holes = chunk.NewBitmap(2)
		}},
		{"large zeros", "size", func(m *memory) {
			size := int64(chunk.MaxObject + 1)
			bits := chunk.NewBitmap(chunk.Count(size))
			bits.SetAll()
			m.nodes[m.add(0, "a", Inode{Mode: ModeRegular, Size: size})].content.Holes = bits
		}},
		{"large device", "bytes", func(m *memory) { m.devices = []Device{{Size: chunk.MaxObject + 1}} }},
		{"devices", "65535", func(m *memory) { m.devices = make([]Device, MaxDevices+1) }},
		{"blocks", "32 bits", func(m *memory) {
			for range 20 {
				m.devices = append(m.devices, Device{Size: chunk.MaxObject})
			}
		}},
	} {
		m := newMemory()
		c.make(m)
		if _, err := Write(io.Discard, m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestXattrsThatDoNotFit(t *testing.T) {
	good := Xattr{"user.a", []byte("v")}
	for _, c := range []struct {
		bad  []Xattr
		name string
	}{
		{[]Xattr{good, {"system.nfs4_acl", nil}}, "system.nfs4_acl"},
		{[]Xattr{{"user.", nil}}, "user."},
		{[]Xattr{{"plain", nil}}, "plain"},
		{[]Xattr{{"", nil}}, ""},
		{[]Xattr{{"system.posix_acl_access2", nil}}, "system.posix_acl_access2"},
		{[]Xattr{{"user.a\x00b", nil}}, "user.a\x00b"},
		{[]Xattr{{"user." + strings.Repeat("n", 251), nil}}, "user." + strings.Repeat("n", 251)},
		{[]Xattr{{"user.v", make([]byte, 65_536)}}, "user.v"},
		{[]Xattr{good, good}, "user.a"},
		{[]Xattr{{"user.1", make([]byte, 65_535)}, {"user.2", make([]byte, 65_535)}, {"user.3", make([]byte, 65_535)},
			{"user.4", make([]byte, 65_535)}, {"user.0", nil}}, "user.4"},
	} {
		var e *XattrError
		if err := CheckXattrs(c.bad); !errors.As(err, &e) || e.Name != c.name {
			t.Errorf("%.40q: %v", c.name, err)
		}
		m := newMemory()
		m.nodes[0].xattrs = c.bad
		if _, err := Write(io.Discard, m); !errors.As(err, &e) || e.Name != c.name {
			t.Errorf("Write with %.40q: %v", c.name, err)
		}
	}
	if err := errors.Join(CheckXattr(good), CheckXattrs([]Xattr{good}), CheckXattrs(nil)); err != nil {
		t.Error(err)
	}
}

// fickle answers otherwise after so many questions.
type fickle struct {
	*memory
	asked, turn int
}

func (f *fickle) Inode(i int, n *Inode, c *Content, x *[]Xattr) error {
	err := f.memory.Inode(i, n, c, x)
	if f.asked++; f.asked > f.turn && n.IsSymlink() {
		c.Inline = append([]byte("longer than before"), c.Inline...)
		n.Size = int64(len(c.Inline))
	}
	return err
}

func TestSourceThatChanges(t *testing.T) {
	m := newMemory()
	m.inline(0, "a", ModeSymlink, []byte("target"))
	m.inline(0, "b", ModeSymlink, bytes.Repeat([]byte("x"), 600))
	m.inline(0, "c", ModeSymlink, bytes.Repeat([]byte("x"), 510))
	m.inline(0, "d", ModeSymlink, bytes.Repeat([]byte("x"), 510))
	if _, err := Write(io.Discard, &fickle{memory: m, turn: m.Len()}); !errors.Is(err, errChanged) {
		t.Errorf("a source that changes: %v", err)
	}
}

type failing struct{ after int }

var errFull = errors.New("disk is full")

func (f *failing) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	m := everything(BlockSize)
	for _, after := range []int{0, 1 << 10, 100 << 10, 200 << 10} {
		if _, err := Write(&failing{after}, m); !errors.Is(err, errFull) {
			t.Errorf("after %d bytes: %v", after, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	good := small(t)
	for name, change := range map[string]func(b []byte) []byte{
		"empty":         func([]byte) []byte { return nil },
		"cut":           func(b []byte) []byte { return b[:superAt+superSize-1] },
		"no magic":      func(b []byte) []byte { b[superAt]++; return b },
		"block size":    func(b []byte) []byte { b[superAt+sbBlockBits] = 12; return b },
		"feature":       func(b []byte) []byte { b[superAt+sbIncompat] |= 1; return b },
		"table outside": func(b []byte) []byte { b[superAt+sbDevices+1] = 0xff; return b },
		"root":          func(b []byte) []byte { b[superAt+sbRoot] = 3; return b },
		"no root":       func(b []byte) []byte { b[superAt+sbMeta+2] = 0xff; return b },
	} {
		if _, err := Open(change(bytes.Clone(good))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	im, err := Open(good)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{-1, im.Devices()} {
		if _, err := im.Device(i); !errors.Is(err, ErrCorrupt) {
			t.Errorf("device %d: %v", i, err)
		}
	}
}

// plenty is a tree of n files in directories of 100, made up as it is asked.
type plenty struct{ n int }

func (p plenty) Len() int { return 1 + p.n/100 + p.n }

func (p plenty) dirs() int { return p.n / 100 }

// Inodes: the root, then each directory with its files behind it.
func (p plenty) Inode(i int, n *Inode, c *Content, _ *[]Xattr) error {
	n.Sec, n.Nlink = 1_700_000_000+int64(i), 1
	if i == 0 || (i-1)%101 == 0 {
		n.Mode, n.Nlink = ModeDir|0o755, 2
		return nil
	}
	n.Mode, n.Size = ModeRegular|0o644, int64(300+i%5000)
	c.Device, c.Offset = i%50, int64(i/50)*BlockSize*12
	return nil
}

func (p plenty) Children(i int, yield func(string, int, uint32) bool) error {
	if i == 0 {
		for k := range p.dirs() {
			if !yield(fmt.Sprintf("directory-%06d", k), 1+k*101, ModeDir) {
				return nil
			}
		}
		return nil
	}
	for k := range 100 {
		if !yield(fmt.Sprintf("file-%d.txt", k+100), i+1+k, ModeRegular) {
			return nil
		}
	}
	return nil
}

func (p plenty) Parent(int) int { return 0 }

func (p plenty) Devices() []Device {
	d := make([]Device, 50)
	for i := range d {
		d[i] = Device{Object: chunk.SumBytes([]byte{byte(i)}), Size: 1 << 30}
	}
	return d
}

func TestMillionInodes(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: -short")
	}
	f, err := os.CreateTemp(t.TempDir(), "tree")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := plenty{n: 1_000_000}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	size, err := Write(f, p)
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// What lives at any time is at most what the heap has grown by.
	if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 16*int64(p.Len())+(16<<20) {
		t.Errorf("the heap grew by %d bytes for %d inodes", grown, p.Len())
	}
	b, err := os.ReadFile(f.Name())
	if err != nil || int64(len(b)) != size {
		t.Fatal(err)
	}
	im, err := Open(b)
	if err != nil {
		t.Fatal(err)
	}
	n := walk(t, im, "/directory-009999/file-199.txt")
	if last := p.Len() - 1; n.Sec != 1_700_000_000+int64(last) || n.Nid >= 1<<40 {
		t.Errorf("the last file is %+v", n)
	}
	t.Logf("%d inodes, %d bytes, %.1f an inode", p.Len(), size, float64(size)/float64(p.Len()))
}

func BenchmarkWrite(b *testing.B) {
	p := plenty{n: 99_000} // 99,991 inodes
	b.ReportAllocs()
	for b.Loop() {
		size, err := Write(io.Discard, p)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size)/float64(p.Len()), "B/inode")
	}
}

func benchImage(b *testing.B) []byte {
	var buf bytes.Buffer
	if _, err := Write(&buf, plenty{n: 99_000}); err != nil {
		b.Fatal(err)
	}
	return buf.Bytes()
}

func BenchmarkOpen(b *testing.B) {
	image := benchImage(b)
	for b.Loop() {
		if _, err := Open(image); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLookup finds a name in the root, of 990 entries, and reads its inode.
func BenchmarkLookup(b *testing.B) {
	im, err := Open(benchImage(b))
	if err != nil {
		b.Fatal(err)
	}
	root, err := im.Inode(im.Root())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		nid, _, err := im.Lookup(&root, "directory-000700")
		if err != nil {
			b.Fatal(err)
		}
		if _, err := im.Inode(nid); err != nil {
			b.Fatal(err)
		}
	}
}
