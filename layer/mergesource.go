package layer

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// source is the merged tree as an image writer takes it.
type source struct {
	*merge
	order   []uint32  // inodes by number
	devices [][]int32 // by layer and object; -1 is unused
	objects []Object
	entry   Entry // of the inode's attributes
	content Entry // of its content, if that is another
	dropped int64
}

// source numbers the inodes: a directory's children one after the other, then
// those of its first directory, and so on, so that what is listed together lies
// together. It sorts every directory.
func (m *merge) source() (*source, error) {
	s := &source{merge: m, order: make([]uint32, 1, len(m.inodes)), devices: make([][]int32, len(m.maps))}
	s.number(0, nil)
	return s, s.measure()
}

func (s *source) number(dir uint32, sorted []uint32) {
	sorted = s.sortNames(dir, sorted[:0])
	s.inodes[dir].nlink = 2
	for at := s.inodes[dir].first; at != 0; at = s.names[at].next {
		i := s.names[at].inode
		n := &s.inodes[i]
		if n.kind == Dir {
			s.inodes[dir].nlink++
		}
		if n.number == 0 {
			n.number = uint32(len(s.order))
			s.order = append(s.order, i)
		}
	}
	for at := s.inodes[dir].first; at != 0; at = s.names[at].next {
		if i := s.names[at].inode; s.inodes[i].kind == Dir {
			s.number(i, sorted)
		}
	}
}

// sortNames sorts a directory's names in byte order, in place. It uses sorted's
// room.
func (s *source) sortNames(dir uint32, sorted []uint32) []uint32 {
	for at := s.inodes[dir].first; at != 0; at = s.names[at].next {
		sorted = append(sorted, at)
	}
	slices.SortFunc(sorted, func(a, b uint32) int { return cmp.Compare(s.textOf(&s.names[a]), s.textOf(&s.names[b])) })
	before := uint32(0)
	for _, at := range sorted {
		s.names[at].prev, s.names[at].next = before, 0
		if before == 0 {
			s.inodes[dir].first = at
		} else {
			s.names[before].next = at
		}
		before = at
	}
	return sorted
}

// measure finds the objects that files use, and what of attributes is left out.
func (s *source) measure() error {
	known := map[chunk.Digest]int32{}
	for _, i := range s.order {
		n := &s.inodes[i]
		if err := s.load(n); err != nil {
			return err
		}
		s.dropped += s.filter(n.kind)
		if n.kind != Regular || s.content.Object < 0 {
			continue
		}
		if err := s.use(int(n.dataLayer)-1, s.content.Object, known); err != nil {
			return err
		}
	}
	return nil
}

// use gives an object its place in the device table.
func (s *source) use(layer, object int, known map[chunk.Digest]int32) error {
	if s.devices[layer] == nil {
		s.devices[layer] = slices.Repeat([]int32{-1}, len(s.maps[layer].Objects()))
	}
	if s.devices[layer][object] >= 0 {
		return nil
	}
	o := s.maps[layer].Objects()[object]
	device, here := known[o.Digest]
	if here && s.objects[device].Size != o.Size {
		return fmt.Errorf("%w: object %s has %d bytes, and %d", ErrMap, o.Digest, o.Size, s.objects[device].Size)
	}
	if !here {
		if len(s.objects) == erofs.MaxDevices {
			return fmt.Errorf("%w: more than %d content objects", ErrUnsupported, erofs.MaxDevices)
		}
		device = int32(len(s.objects))
		s.objects = append(s.objects, o)
		known[o.Digest] = device
	}
	s.devices[layer][object] = device
	return nil
}

// load reads an inode's entries.
func (s *source) load(n *inode) error {
	s.entry = Entry{Type: Dir, Mode: 0o755, Xattrs: s.entry.Xattrs[:0]}
	if o := n.attrs(); o.layer > 0 {
		if err := s.maps[o.layer-1].Entry(int(o.entry), &s.entry); err != nil {
			return err
		}
	}
	if n.kind == Dir || n.attrs() == n.data() {
		xattrs := s.content.Xattrs[:0]
		s.content = s.entry
		s.content.Xattrs = xattrs
		return nil
	}
	o := n.data()
	return s.maps[o.layer-1].Entry(int(o.entry), &s.content)
}

// filter leaves in s.entry the extended attributes that the file has: its own,
// those that a hard link's entry set, and none that cannot be. It tells how many
// it left out.
func (s *source) filter(kind Type) (dropped int64) {
	for _, x := range s.content.Xattrs {
		if !slices.ContainsFunc(s.entry.Xattrs, func(y erofs.Xattr) bool { return y.Name == x.Name }) {
			s.entry.Xattrs = append(s.entry.Xattrs, x)
		}
	}
	kept := s.entry.Xattrs[:0]
	for _, x := range s.entry.Xattrs {
		if settable(x, kind) {
			kept = append(kept, x)
		} else {
			dropped++
		}
	}
	s.entry.Xattrs = kept
	return dropped
}

// Len is the number of inodes.
func (s *source) Len() int { return len(s.order) }

// Devices are the content objects.
func (s *source) Devices() []erofs.Device {
	devices := make([]erofs.Device, len(s.objects))
	for i, o := range s.objects {
		devices[i] = erofs.Device{Object: o.Digest, Size: o.Size}
	}
	return devices
}

// Parent is the directory that a directory lies in.
func (s *source) Parent(i int) int { return int(s.inodes[s.inodes[s.order[i]].up].number) }

// Children gives a directory's names in byte order.
func (s *source) Children(i int, yield func(name string, inode int, mode uint32) bool) error {
	for at := s.inodes[s.order[i]].first; at != 0; at = s.names[at].next {
		n := &s.names[at]
		child := &s.inodes[n.inode]
		if !yield(s.textOf(n), int(child.number), modeOf(child.kind)) {
			break
		}
	}
	return nil
}

// Inode describes inode i.
func (s *source) Inode(i int, n *erofs.Inode, c *erofs.Content, x *[]erofs.Xattr) error {
	in := &s.inodes[s.order[i]]
	if err := s.load(in); err != nil {
		return err
	}
	s.filter(in.kind)
	*x = append(*x, s.entry.Xattrs...)
	if in.opaque {
		*x = append(*x, opaqueMark)
	}
	e := &s.entry
	n.Mode, n.UID, n.GID, n.Nlink = modeOf(in.kind)|e.Mode, e.UID, e.GID, in.nlink
	n.Sec, n.Nsec = boundTime(e.Sec, e.Nsec)
	switch in.kind {
	case Symlink:
		n.Mode = erofs.ModeSymlink | 0o777
		n.Size, c.Inline = int64(len(s.content.Target)), []byte(s.content.Target)
	case Whiteout:
		n.Mode = erofs.ModeChar
	case Char, Block:
		n.Rdev = s.content.Rdev
	case Regular:
		n.Size, c.Inline, c.Holes, c.Offset = s.content.Size, s.content.Inline, s.content.Holes, s.content.Offset
		if s.content.Object >= 0 {
			c.Device = int(s.devices[in.dataLayer-1][s.content.Object])
		}
	}
	return nil
}

// boundTime is containerd's above: what Go's nanoseconds do not hold is 1970. Below,
// where it does the same, times are kept as they are in the layer.
func boundTime(sec int64, nsec uint32) (int64, uint32) {
	if sec >= math.MaxInt64/int64(time.Second) {
		return 0, 0
	}
	return sec, nsec
}
