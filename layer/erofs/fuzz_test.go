package erofs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// small is a tree of every layout, small enough to be mutated.
func small(t testing.TB) []byte {
	m := newMemory()
	d := m.dir(0, "dir")
	for c := 'a'; c < 'z'; c++ {
		m.inline(d, string(c)+"-name-of-some-length", ModeSymlink|0o777, []byte("target"))
	}
	m.inline(0, "long", ModeSymlink|0o777, bytes.Repeat([]byte("t"), 600))
	m.inline(0, "tiny", ModeRegular|0o644, []byte("tiny"))
	m.add(0, "device", Inode{Mode: ModeChar, Rdev: 5})
	object := m.device(pattern(1, 3000))
	m.file(0, "packed", object, 512, 700)
	tail := m.file(0, "tail", object, 1024, 3000-1024)
	m.nodes[tail].xattrs = []Xattr{{"user.x", []byte("value")}, {"security.y", nil}}
	m.devices = append(m.devices, Device{Size: 5*chunk.Size + 7}, Device{Size: 4 * chunk.Size})
	for i, size := range []int64{5*chunk.Size + 7, 4 * chunk.Size} {
		holes := chunk.NewBitmap(chunk.Count(size))
		holes.Set(1)
		holes.Set(2)
		n := m.add(0, []string{"holes-tail", "holes"}[i], Inode{Mode: ModeRegular | 0o600, Size: size})
		m.nodes[n].content = Content{Device: object + 1 + i, Holes: holes, Inline: make([]byte, size%BlockSize)}
	}
	return m.image(t)
}

// explore does all that a reader can do with an image, up to a bound, and checks
// what must hold whatever its bytes are.
func explore(t *testing.T, b []byte) {
	im, err := Open(b)
	if err != nil {
		if !errors.Is(err, ErrCorrupt) {
			t.Fatalf("Open: %v", err)
		}
		return
	}
	for i := range min(im.Devices(), 100) {
		if d, err := im.Device(i); err == nil && (d.Size < 0 || d.Size > chunk.MaxObject) {
			t.Fatalf("device of %d bytes", d.Size)
		}
	}
	queue, steps := []uint64{im.Root()}, 0
	for len(queue) > 0 && steps < 300 {
		n, err := im.Inode(queue[0])
		queue = queue[1:]
		steps++
		corrupt(t, err)
		if err != nil {
			continue
		}
		queue = append(queue, exploreDir(t, im, &n)...)
		exploreContent(t, im, &n)
		corrupt(t, im.Xattrs(&n, func(name string, _ []byte) bool { return len(name) > 0 }))
		_, err = im.Xattr(&n, "user.x")
		corrupt(t, err)
	}
	for _, nid := range []uint64{0, 1, 3, uint64(len(b)), 1 << 40, 1<<64 - 1} {
		_, err := im.Inode(nid)
		corrupt(t, err)
	}
}

// corrupt fails for an error that no method should give.
func corrupt(t *testing.T, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, io.EOF) && !errors.Is(err, fs.ErrInvalid) {
		t.Fatal(err)
	}
}

func exploreDir(t *testing.T, im *Image, n *Inode) (found []uint64) {
	var last uint64
	count := 0
	err := im.ReadDir(n, 0, func(d Dirent) bool {
		if len(d.Name) == 0 || len(d.Name) > MaxName || d.Next <= last {
			t.Fatalf("entry %q, cookie %d after %d", d.Name, d.Next, last)
		}
		last = d.Next
		count++
		if string(d.Name) != "." && string(d.Name) != ".." {
			found = append(found, d.Nid)
		}
		_, _, err := im.Lookup(n, string(d.Name))
		corrupt(t, err)
		return count < 200
	})
	corrupt(t, err)
	corrupt(t, im.ReadDir(n, last/2+5, func(Dirent) bool { return false }))
	corrupt(t, im.ReadDir(n, 1<<63, func(Dirent) bool { return false }))
	_, _, err = im.Lookup(n, "m-name-of")
	corrupt(t, err)
	return found
}

func exploreContent(t *testing.T, im *Image, n *Inode) {
	_, err := im.ReadInline(n)
	corrupt(t, err)
	off := int64(0)
	for range 100 {
		e, err := im.Extent(n, off)
		corrupt(t, err)
		if err != nil {
			return
		}
		if e.Length <= 0 || e.Length > n.Size-off || e.Offset < 0 || e.Device < Inline || e.Device >= im.Devices() {
			t.Fatalf("extent %+v at %d of %d", e, off, n.Size)
		}
		if e.Device == Inline {
			b, err := im.ReadInline(n)
			if err != nil || e.Offset+e.Length > int64(len(b)) {
				t.Fatalf("inline extent %+v of %d bytes, %v", e, len(b), err)
			}
		}
		if e.Device >= 0 {
			if d, err := im.Device(e.Device); err == nil && e.Offset+e.Length > d.Size {
				t.Fatalf("extent %+v of a device of %d", e, d.Size)
			}
		}
		off += e.Length
	}
}

func FuzzOpen(f *testing.F) {
	b := small(f)
	f.Add(b)
	f.Add(b[:superAt+superSize])
	f.Add(b[:len(b)/2])
	for i := 0; i < 200; i++ {
		c := bytes.Clone(b)
		at := superAt + i*i*7%(len(b)-superAt)
		c[at] ^= 1 << (i % 8)
		f.Add(c)
	}
	f.Fuzz(explore)
}

// FuzzFlips changes bytes of a good image: three bytes of input are a place and
// what to flip there.
func FuzzFlips(f *testing.F) {
	b := small(f)
	f.Add([]byte{})
	for i := superAt; i < len(b); i += 3 {
		f.Add([]byte{byte(i), byte(i >> 8), 0xff, byte(i + 1), byte((i + 1) >> 8), 0x80})
	}
	f.Fuzz(func(t *testing.T, flips []byte) {
		c := bytes.Clone(b)
		for ; len(flips) >= 3; flips = flips[3:] {
			c[(int(flips[0])|int(flips[1])<<8)%len(c)] ^= flips[2]
		}
		explore(t, c)
	})
}

// A method is handed what the caller likes: an inode of another image, a zero one.
func TestForeignInodes(t *testing.T) {
	m := everything(BlockSize)
	large, err := Open(m.image(t))
	if err != nil {
		t.Fatal(err)
	}
	little, err := Open(newMemory().image(t))
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	m.each(0, "/", func(at string, _ int) {
		n := walk(t, large, at)
		exploreDir(t, little, &n)
		corrupt(t, little.Xattrs(&n, func(string, []byte) bool { return true }))
		_, err := little.ReadInline(&n)
		corrupt(t, err)
		_, err = little.Extent(&n, 0)
		corrupt(t, err)
		tried++
	})
	exploreDir(t, little, &Inode{})
	exploreContent(t, little, &Inode{Mode: ModeRegular, Size: 1 << 40})
	if tried < 100 {
		t.Fatalf("tried %d", tried)
	}
}
