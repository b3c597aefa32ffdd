package layer

import (
	"fmt"
	"strings"
)

// apply lays one entry over the tree.
func (m *merge) apply(o origin, e *Entry) error {
	if e.Type == Opaque {
		dir, err := m.directory(e.Path)
		if err != nil {
			return err
		}
		return m.conceal(dir)
	}
	if e.Path == "" {
		return nil // containerd does not heed the root's entry
	}
	parent, base := "", e.Path
	if i := strings.LastIndexByte(e.Path, '/'); i >= 0 {
		parent, base = e.Path[:i], e.Path[i+1:]
	}
	dir, err := m.directory(parent)
	if err != nil {
		return err
	}
	at := m.lookup(dir, base)
	switch {
	case e.Type == Whiteout:
		return m.whiteout(at)
	case at != 0 && e.Type == Dir && m.inodes[m.names[at].inode].kind == Dir:
		m.names[at].layer = m.layer
		m.inodes[m.names[at].inode].setAttrs(o)
		return nil
	}
	concealed := at != 0 && m.inodes[m.names[at].inode].kind == Whiteout
	if at != 0 {
		m.cut(at)
	}
	if err := m.place(dir, base, o, e); err != nil || !concealed || e.Type != Dir {
		return err
	}
	m.inodes[m.names[m.lookup(dir, base)].inode].opaque = true
	return nil
}

// place gives an entry its name, which is not there.
func (m *merge) place(dir uint32, base string, o origin, e *Entry) error {
	switch {
	case e.Type == HardLink:
		at, err := m.find(e.Target, false)
		if err != nil {
			return fmt.Errorf("hard link to %q: %w", clip(e.Target), err)
		}
		if m.inodes[at].kind == Dir {
			return fmt.Errorf("%w: a hard link to the directory %q", ErrUnsupported, clip(e.Target))
		}
		m.inodes[at].setAttrs(o)
		return m.add(dir, base, at, m.layer)
	case e.Type == Char && e.Rdev == 0 && !m.alone:
		return nil // overlayfs's own whiteout, whose victim is gone by now
	case e.Type == Char && e.Rdev == 0:
		return m.blank(dir, base)
	}
	at, err := m.create(inode{
		kind: e.Type, sealed: m.layer,
		attrEntry: o.entry, attrLayer: o.layer, dataEntry: o.entry, dataLayer: o.layer,
	})
	if err != nil {
		return err
	}
	return m.add(dir, base, at, m.layer)
}

// whiteout removes what lower layers have at a name.
func (m *merge) whiteout(at uint32) error {
	if at == 0 {
		return nil
	}
	n := m.names[at]
	switch {
	case n.layer != m.layer && m.alone:
		text := strings.Clone(m.textOf(&n))
		m.cut(at)
		return m.blank(n.dir, text)
	case n.layer != m.layer:
		m.cut(at)
	case m.inodes[n.inode].kind == Dir:
		return m.conceal(n.inode)
	}
	return nil
}

// hide removes what lower layers have in a directory, at every depth. A directory
// in which this layer has hidden everything once has nothing to hide again.
func (m *merge) hide(dir uint32) {
	if m.inodes[dir].sealed == m.layer {
		return
	}
	m.inodes[dir].sealed = m.layer
	for at := range m.namesIn(dir) {
		n := &m.names[at]
		switch {
		case n.layer != m.layer:
			m.cut(at)
		case m.inodes[n.inode].kind == Dir:
			m.hide(n.inode)
		}
	}
}

// cut removes a name, and with it what was remembered of the way there.
func (m *merge) cut(at uint32) {
	m.kept = false
	m.remove(at)
}
