package erofs

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"path"
	"slices"
	"testing"

	"github.com/shoal-project/shoal/chunk"
)

// memory is a Source in memory. Like a real one it uses its buffers again: what
// it gave is garbled at the next call.
type memory struct {
	nodes   []*node
	devices []Device
	files   [][]byte // the devices' bytes
	lent    [][]byte
	block   int64 // block size, if it is not BlockSize
}

type node struct {
	inode    Inode
	content  Content
	xattrs   []Xattr
	parent   int
	children []child
	data     []byte // what a reader of a regular file or a link must get
}

type child struct {
	name  string
	inode int
}

func newMemory() *memory {
	return &memory{nodes: []*node{{inode: Inode{Mode: ModeDir | 0o755, Nlink: 2, Sec: 1_700_000_000}}}}
}

// add puts an inode into a directory and returns its number.
func (m *memory) add(parent int, name string, n Inode) int {
	if n.Nlink == 0 {
		n.Nlink = 1
		if n.IsDir() {
			n.Nlink = 2
			m.nodes[parent].inode.Nlink++
		}
	}
	m.nodes = append(m.nodes, &node{inode: n, parent: parent})
	m.link(parent, name, len(m.nodes)-1)
	return len(m.nodes) - 1
}

func (m *memory) link(parent int, name string, inode int) {
	m.nodes[parent].children = append(m.nodes[parent].children, child{name, inode})
}

func (m *memory) dir(parent int, name string) int {
	return m.add(parent, name, Inode{Mode: ModeDir | 0o755})
}

// inline adds a link or a file that is kept in the tree.
func (m *memory) inline(parent int, name string, mode uint32, data []byte) int {
	i := m.add(parent, name, Inode{Mode: mode, Size: int64(len(data))})
	m.nodes[i].content.Inline, m.nodes[i].data = data, data
	return i
}

// device adds an object and returns its number.
func (m *memory) device(data []byte) int {
	m.devices = append(m.devices, Device{Object: sha256.Sum256(data), Size: int64(len(data))})
	m.files = append(m.files, data)
	return len(m.devices) - 1
}

// file adds a file of size bytes at off of a device.
func (m *memory) file(parent int, name string, device int, off, size int64) int {
	i := m.add(parent, name, Inode{Mode: ModeRegular | 0o644, Size: size})
	m.nodes[i].content = Content{Device: device, Offset: off}
	m.nodes[i].data = m.files[device][off : off+size]
	m.nodes[i].content.Inline = m.nodes[i].data[size-size%m.align():]
	return i
}

func (m *memory) align() int64 { return cmp.Or(m.block, BlockSize) }

func (m *memory) Len() int { return len(m.nodes) }

func (m *memory) Parent(i int) int { return m.nodes[i].parent }

func (m *memory) Devices() []Device { return m.devices }

// lend copies b, to garble the copy at the next call.
func (m *memory) lend(b []byte) []byte {
	if b == nil {
		return nil
	}
	m.lent = append(m.lent, bytes.Clone(b))
	return m.lent[len(m.lent)-1]
}

func (m *memory) garble() {
	for _, b := range m.lent {
		for i := range b {
			b[i] = 0xee
		}
	}
	m.lent = m.lent[:0]
}

func (m *memory) Inode(i int, n *Inode, c *Content, x *[]Xattr) error {
	m.garble()
	this := m.nodes[i]
	*n, *c = this.inode, this.content
	c.Inline = m.lend(c.Inline)
	for _, a := range this.xattrs {
		*x = append(*x, Xattr{a.Name, m.lend(a.Value)})
	}
	return nil
}

func (m *memory) Children(i int, yield func(name string, inode int, mode uint32) bool) error {
	m.garble()
	list := m.nodes[i].children
	slices.SortFunc(list, func(a, b child) int { return cmp.Compare(a.name, b.name) })
	for _, c := range list {
		if !yield(c.name, c.inode, m.nodes[c.inode].inode.Mode) {
			return nil
		}
	}
	return nil
}

// each calls f with every path below inode i, its own first.
func (m *memory) each(i int, at string, f func(at string, i int)) {
	f(at, i)
	for _, c := range m.nodes[i].children {
		if m.nodes[c.inode].inode.IsDir() {
			m.each(c.inode, path.Join(at, c.name), f)
		} else {
			f(path.Join(at, c.name), c.inode)
		}
	}
}

// image writes m.
func (m *memory) image(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	size, err := Write(&b, m)
	if err != nil {
		t.Fatal(err)
	}
	if size != int64(b.Len()) || size%BlockSize != 0 {
		t.Fatalf("Write says %d bytes, wrote %d", size, b.Len())
	}
	return b.Bytes()
}

// pattern is n bytes that differ by seed and place.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// everything is a tree with every kind of entry that an image can hold. Content
// in its devices lies at multiples of align.
func everything(align int) *memory {
	m := newMemory()
	m.block = int64(align)
	everyType(m)
	everyFile(m, align)
	everyName(m)
	everyXattr(m)
	for i, n := range m.nodes { // attributes that differ
		n.inode.UID, n.inode.GID = uint32(i)*70_000, uint32(i)*90_000
		n.inode.Sec, n.inode.Nsec = int64(i)*100_000_000, uint32(i)*1_000_003%1_000_000_000
	}
	m.nodes[1].inode.Sec = -5 // before 1970
	m.nodes[2].inode.Sec = 1 << 33
	m.nodes[3].inode.UID, m.nodes[3].inode.GID = 1<<32-2, 1<<32-3
	return m
}

func everyType(m *memory) {
	d := m.dir(0, "types")
	m.add(d, "fifo", Inode{Mode: ModeFifo | 0o600})
	m.add(d, "socket", Inode{Mode: ModeSocket | 0o777})
	m.add(d, "null", Inode{Mode: ModeChar | 0o666, Rdev: 1<<8 | 3})
	m.add(d, "whiteout", Inode{Mode: ModeChar})
	m.add(d, "wide", Inode{Mode: ModeBlock | 0o660, Rdev: 0xabc<<8 | 0x89 | 0x123<<20}) // major 0xabc, minor 0x12389
	m.add(d, "suid", Inode{Mode: ModeRegular | 0o6755})
	m.add(d, "sticky", Inode{Mode: ModeDir | 0o1777})
	for _, n := range []int{1, 100, 400, 447, 448, 449, 512, 1000, 4000, 4095} {
		m.inline(d, fmt.Sprint("link", n), ModeSymlink|0o777, bytes.Repeat([]byte("x"), n))
	}
	hard := m.inline(d, "hard1", ModeRegular|0o644, []byte("two names"))
	m.nodes[hard].inode.Nlink = 2
	m.link(0, "hard2", hard)
}

func everyFile(m *memory, align int) {
	d := m.dir(0, "files")
	for _, n := range []int{0, 1, 255, 256, 447, 448, 449, 512, 3000, MaxInline} {
		i := m.inline(d, fmt.Sprint("tiny", n), ModeRegular|0o644, pattern(byte(n), n))
		if n == 0 {
			m.nodes[i].content.Inline = nil
		}
	}
	pack := m.device(pattern(7, 40*align+123)) // the last file ends within a block
	for k := range 13 {
		m.file(d, fmt.Sprint("packed", k), pack, int64(3*k*align), int64(2*align+k*37%align))
	}
	m.file(d, "packed-last", pack, int64(39*align), int64(align+123))
	large := m.device(pattern(8, 5<<20+77))
	m.file(d, "large", large, 0, 5<<20+77)
	m.file(d, "large-again", large, 0, 5<<20+77)
	holes(m, d)
}

func holes(m *memory, d int) {
	for _, c := range []struct {
		name   string
		pieces int
		zero   []int
		tail   int
	}{
		{"holes-begin", 3, []int{0}, 100}, {"holes-mid", 4, []int{1, 2}, 0}, {"holes-end", 2, []int{1, 2}, 4097}, {"holes-all", 1, []int{0, 1}, 1},
	} {
		data := pattern(byte(len(c.name)), c.pieces*chunk.Size+c.tail)
		bits := chunk.NewBitmap(chunk.Count(int64(len(data))))
		for _, z := range c.zero {
			bits.Set(z)
			clear(data[z*chunk.Size : min((z+1)*chunk.Size, len(data))])
		}
		i := m.file(d, c.name, m.device(data), 0, int64(len(data)))
		m.nodes[i].content.Holes = bits
	}
}

func everyName(m *memory) {
	d := m.dir(0, "names")
	for c := 1; c < 256; c++ {
		if c != '/' && c != '.' {
			m.inline(d, string([]byte{byte(c)}), ModeRegular|0o644, []byte{byte(c)})
		}
	}
	for _, name := range []string{"...", ".!", "..a", ".\xff\xfe", "\xc3\x28", "a\nb", "\\", "-"} {
		if name != "\\" && name != "-" {
			m.dir(d, name)
		}
	}
	long := m.dir(0, "long")
	for k := range 40 {
		m.dir(long, fmt.Sprintf("%0*d", MaxName, k))
	}
	m.dir(m.dir(m.dir(0, "deep"), "er"), "est")
	exact := m.dir(0, "exact") // its entries fill one block to the byte
	for k, room := 0, BlockSize-27; room > 0; k++ {
		n := min(room-direntSize, 40)
		if left := room - direntSize - n; left > 0 && left < direntSize+3 {
			n -= direntSize + 3
		}
		m.add(exact, fmt.Sprintf("%0*d", n, k), Inode{Mode: ModeFifo})
		room -= direntSize + n
	}
}

func everyXattr(m *memory) {
	d := m.dir(0, "xattrs")
	capability := Xattr{"security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")}
	one := m.inline(d, "capability", ModeRegular|0o755, []byte("#!"))
	m.nodes[one].xattrs = []Xattr{capability}
	// A POSIX ACL: version 2, then tag, permissions, id of user, a named user, group, mask, other.
	acl := Xattr{"system.posix_acl_access", []byte("\x02\x00\x00\x00" +
		"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xe8\x03\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
		"\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff")}
	some := m.dir(d, "some")
	m.nodes[some].xattrs = []Xattr{{"user.z", nil}, {"user.a", []byte("value")}, acl,
		{"system.posix_acl_default", acl.Value}, {"trusted.overlay.opaque", []byte("y")}, {"security.selinux", []byte("u:r:t\x00")}}
	for k := range 30 {
		m.inline(some, fmt.Sprint("filler", k), ModeSymlink|0o777, []byte("target"))
	}
	many := m.inline(d, "many", ModeSymlink|0o777, []byte("a link with many"))
	for k := range 100 {
		m.nodes[many].xattrs = append(m.nodes[many].xattrs, Xattr{fmt.Sprint("trusted.", k), pattern(byte(k), k*3)})
	}
	large := m.file(d, "large", 0, 0, 700)
	m.nodes[large].xattrs = []Xattr{{"user." + string(bytes.Repeat([]byte("n"), 250)), pattern(3, 65_535)}, {"user.b", pattern(4, 30_000)}}
	for n := 1; n < 64; n += 3 { // all lengths, before a tail that fills its block
		object := m.device(pattern(byte(n), 5*int(m.align())-1))
		odd := m.file(d, fmt.Sprint("odd", n), object, 0, m.devices[object].Size)
		m.nodes[odd].xattrs = []Xattr{{"user.o", pattern(1, n)}}
	}
}
