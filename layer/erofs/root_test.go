package erofs

import (
	"strings"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// The root's place is fixed, whatever the length of its entries.
func TestRootsOfEveryLength(t *testing.T) {
	for length := range 600 {
		m := newMemory()
		for at := length; at > 0; at -= 200 {
			m.inline(0, string(rune('a'+at%26))+strings.Repeat("n", min(at, 200)), ModeRegular|0o644, nil)
		}
		im, err := Open(m.image(t))
		if err != nil {
			t.Fatalf("a root with %d bytes of names: %v", length, err)
		}
		found := 0
		root := walk(t, im, "")
		if err := im.ReadDir(&root, 0, func(Dirent) bool { found++; return true }); err != nil || found < 2 {
			t.Fatalf("a root with %d bytes of names: %d entries, %v", length, found, err)
		}
	}
}

// A file of zeros is in no device, and there need not be one.
func TestAllHolesNeedNoDevice(t *testing.T) {
	m := newMemory()
	f := m.add(0, "zeros", Inode{Mode: ModeRegular | 0o644, Nlink: 1, Size: 9 << 20})
	bits := chunk.NewBitmap(3)
	bits.SetAll()
	m.nodes[f].content.Holes = bits
	im, err := Open(m.image(t))
	if err != nil {
		t.Fatal(err)
	}
	n := walk(t, im, "zeros")
	if e, err := im.Extent(&n, 5); err != nil || e.Device != Hole || e.Length != 9<<20-5 {
		t.Errorf("extent %+v, %v", e, err)
	}
}
