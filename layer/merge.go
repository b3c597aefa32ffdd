package layer

import (
	"errors"
	"fmt"
	"io"

	"github.com/shoal-project/shoal/layer/erofs"
)

// ErrUnsupported says that an image's layers cannot be merged: they contradict
// themselves (a hard link to nothing, an entry below a file), so that unpackers
// refuse them too, or they have more than an image tree can hold. The image can
// still be pulled in the ordinary way.
var ErrUnsupported = errors.New("the layers cannot be merged")

// maxInodes bounds the files of an image, and so the memory of a merge: some
// 100 bytes each.
const maxInodes = 1 << 22

// Tree is what an image's layers came to.
type Tree struct {
	Size    int64 // of the image tree in bytes
	Entries int64 // files of all types, the root included; a hard link is not one more
	// Objects hold the content, in the order of the tree's device table: each one
	// that a file uses once, in the order in which the tree first needs it.
	Objects []Object
	// Dropped counts the extended attributes that were left out: those that EROFS
	// has no place for, and those that a container runtime does not set either.
	Dropped int64
	// Plain is the number of plain bytes in the tar stream of the last layer.
	Plain int64
}

// Merge writes the tree of an image whose layers have these maps, the lowest
// first. The same maps give the same bytes. Nothing of the tree is right until
// Merge has returned without an error.
//
// The tree is what a container sees that containerd starts with overlayfs: each
// layer is unpacked by itself and covers the ones below. So a symbolic link is
// followed, within the root, if the entry below it is of the same layer; a lower
// layer's symbolic link or file gives way to a directory. Where a path's parent
// has no entry it is a directory of root's with mode 0755, and what is not said
// of it (as of the root, whose entry is not heeded) is zero. A hard link's entry
// sets the attributes of its file. Times after 2262 are 1970, a device 0:0
// removes, trusted attributes are not set. But what containerd refuses or gets
// wrong (such as times before 1970) goes by the letter of the image specification, as umoci does it: a layer
// may link to a file of one below, and whiteouts and opaque marks hide all of the
// layers below and nothing of their own layer, wherever in it they come.
func Merge(maps []*Map, w io.Writer) (*Tree, error) {
	if len(maps) > MaxLayers {
		return nil, fmt.Errorf("merge layers: %w: %d, more than %d", ErrUnsupported, len(maps), MaxLayers)
	}
	m := newMerge(maps)
	for i := range maps {
		if err := m.lay(i); err != nil {
			return nil, fmt.Errorf("merge layer %d: %w", i, err)
		}
	}
	return m.write(w)
}

// write writes what was laid.
func (m *merge) write(w io.Writer) (*Tree, error) {
	s, err := m.source()
	if err != nil {
		return nil, fmt.Errorf("merge layers: %w", err)
	}
	tree := &Tree{Entries: int64(s.Len()), Objects: s.objects, Dropped: s.dropped}
	if len(m.maps) > 0 {
		tree.Plain = m.maps[len(m.maps)-1].Plain()
	}
	if tree.Size, err = erofs.Write(w, s); err != nil {
		return nil, fmt.Errorf("merge layers: %w", err)
	}
	return tree, nil
}

// merge lays maps over each other.
type merge struct {
	*tree
	maps  []*Map
	layer uint16 // the one at hand, counted from 1
	alone bool   // it is to be seen alone: see [Lower]
	entry Entry  // the one at hand
	other Entry  // a symbolic link on the way

	// The parent directory of the entry before, which is most often this one's.
	path string
	dir  uint32
	kept bool
}

func newMerge(maps []*Map) *merge {
	entries := 0
	for _, m := range maps {
		entries += m.Len()
	}
	return &merge{tree: newTree(min(entries, maxInodes)), maps: maps}
}

// lay lays map i over what there is.
func (m *merge) lay(i int) error {
	m.layer, m.kept = uint16(i+1), false
	for at := range m.maps[i].Len() {
		if err := m.maps[i].Entry(at, &m.entry); err != nil {
			return err
		}
		if err := m.apply(origin{uint32(at), m.layer}, &m.entry); err != nil {
			return fmt.Errorf("%q: %w", clip(m.entry.Path), err)
		}
	}
	return nil
}

// clip keeps a hostile name from filling a log.
func clip(name string) string {
	if len(name) > 200 {
		return name[:200] + "…"
	}
	return name
}
