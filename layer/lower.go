package layer

import (
	"fmt"
	"io"

	"github.com/shoal-project/shoal/layer/erofs"
)

// Form says what the root of a tree is.
type Form uint8

const (
	// FormRoot is the root directory of a container: all layers, as [Merge] lays them.
	FormRoot Form = iota
	// FormLower is the last layer alone, as a directory that overlayfs lays over those
	// of the layers below: see [Lower].
	FormLower
)

// opaqueMark is how overlayfs wants a directory marked that hides what the ones
// below have in it.
var opaqueMark = erofs.Xattr{Name: "trusted.overlay.opaque", Value: []byte("y")}

// Lower writes the tree of the last of the layers alone, as a lower directory of
// overlayfs: what the layer has, a character device 0:0 for what it removes, and
// a mark on directories that hide what is below. Laid over the trees that Lower
// makes of the layers below, it shows what [Merge] shows of all.
//
// The layers below are needed for what the layer does not say: which attributes a
// directory has that it only puts something into, what a whiteout removes, and the
// bytes of a file below that it links to. Such a link's attributes do not become
// those of the name below, which is another file here.
func Lower(maps []*Map, w io.Writer) (*Tree, error) {
	if len(maps) == 0 || len(maps) > MaxLayers {
		return nil, fmt.Errorf("lay a layer over others: %w: %d layers, not 1 to %d", ErrUnsupported, len(maps), MaxLayers)
	}
	m := newMerge(maps)
	for i := range maps {
		m.alone = i == len(maps)-1
		if err := m.lay(i); err != nil {
			return nil, fmt.Errorf("merge layer %d: %w", i, err)
		}
	}
	m.prune(0)
	return m.write(w)
}

// blank says of a name, which is not there, that the layers below may have one
// that is removed.
func (m *merge) blank(dir uint32, text string) error {
	at, err := m.create(inode{kind: Whiteout})
	if err != nil {
		return err
	}
	return m.add(dir, text, at, m.layer)
}

// conceal removes what lower layers have in a directory, and says so to those who
// see this layer alone.
func (m *merge) conceal(dir uint32) error {
	n := &m.inodes[dir]
	switch {
	case !m.alone || n.sealed == m.layer:
	case dir == 0:
		return m.blankAll()
	default:
		n.opaque = true
	}
	m.hide(dir)
	return nil
}

// blankAll is conceal of the root: overlayfs heeds no mark on a layer's root.
func (m *merge) blankAll() error {
	m.inodes[0].sealed = m.layer
	for at := range m.namesIn(0) {
		if err := m.whiteout(at); err != nil {
			return err
		}
	}
	return nil
}

// prune leaves of a directory what the last layer has. What that layer has lies in
// directories that it has.
func (m *merge) prune(dir uint32) {
	for at := range m.namesIn(dir) {
		n := &m.names[at]
		switch {
		case n.layer != m.layer:
			m.remove(at)
		case m.inodes[n.inode].kind == Dir:
			m.prune(n.inode)
		}
	}
}
