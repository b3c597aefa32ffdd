package layer

import (
	"fmt"
	"path"
	"strings"
)

// What bounds a way through the tree, as containerd and the kernel do.
const (
	maxPath  = 4096
	maxLinks = 255
)

// directory finds the directory at a path for an entry of this layer, as it is
// when the layer is unpacked by itself: what is missing is made, this layer's
// symbolic links are followed within the root, and what a lower layer has in
// place of a directory makes room.
func (m *merge) directory(to string) (uint32, error) {
	if m.kept && to == m.path {
		return m.dir, nil
	}
	w := way{path: to}
	dir := uint32(0)
	for {
		part, ok, err := w.next()
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		at, err := m.enter(dir, part, &w)
		if err != nil {
			return 0, err
		}
		dir = at
	}
	m.path, m.dir, m.kept = to, dir, true
	return dir, nil
}

// enter goes one part further. After a symbolic link it is back at the root, and
// w has the way.
func (m *merge) enter(dir uint32, part string, w *way) (uint32, error) {
	at := m.lookup(dir, part)
	if at == 0 {
		return m.imply(dir, part, origin{})
	}
	n := &m.names[at]
	kind, own := m.inodes[n.inode].kind, n.layer == m.layer
	switch {
	case kind == Dir:
		n.layer = m.layer
		return n.inode, nil
	case own && kind == Symlink:
		return 0, m.redirect(n.inode, w)
	case kind == Whiteout:
		m.cut(at)
		made, err := m.imply(dir, part, origin{})
		if err == nil {
			m.inodes[made].opaque = true
		}
		return made, err
	case own:
		return 0, fmt.Errorf("%w: a parent is not a directory", ErrUnsupported)
	}
	attrs := origin{}
	if kind == Symlink {
		attrs = m.behind(w)
	}
	m.cut(at)
	return m.imply(dir, part, attrs)
}

// imply makes a directory that has no entry.
func (m *merge) imply(dir uint32, part string, attrs origin) (uint32, error) {
	at, err := m.create(inode{kind: Dir, attrEntry: attrs.entry, attrLayer: attrs.layer, sealed: m.layer})
	if err != nil {
		return 0, err
	}
	return at, m.add(dir, part, at, m.layer)
}

// behind gives the attributes of the directory to which the symbolic link leads
// that a way has just come to: unpackers copy them to a directory made in the
// link's place.
func (m *merge) behind(w *way) origin {
	at, err := m.find(w.done(), true)
	if err != nil || m.inodes[at].kind != Dir {
		return origin{}
	}
	return m.inodes[at].attrs()
}

// redirect sets a way on from a symbolic link.
func (m *merge) redirect(link uint32, w *way) error {
	data := m.inodes[link].data()
	if err := m.maps[data.layer-1].Entry(int(data.entry), &m.other); err != nil {
		return err
	}
	return w.follow(m.other.Target)
}

// find finds the inode at a path in the tree as it is, following symbolic links,
// also the last part if last is true. It makes nothing.
func (m *merge) find(to string, last bool) (uint32, error) {
	w := way{path: to}
	dir := uint32(0)
	for {
		part, ok, err := w.next()
		if err != nil || !ok {
			return dir, err
		}
		at := m.lookup(dir, part)
		if at == 0 || m.inodes[dir].kind != Dir || m.inodes[m.names[at].inode].kind == Whiteout {
			return 0, fmt.Errorf("%w: there is no %q", ErrUnsupported, clip(to))
		}
		dir = m.names[at].inode
		if m.inodes[dir].kind == Symlink && (last || w.at < len(w.path)) {
			if err := m.redirect(dir, &w); err != nil {
				return 0, err
			}
			dir = 0
		}
	}
}

// way is a walk along a path.
type way struct {
	path  string
	at    int // how much of it was walked
	links int
}

// done is what was walked, its last part included.
func (w *way) done() string { return w.path[:w.at] }

// next takes the next part; ok is false at the end.
func (w *way) next() (part string, ok bool, err error) {
	if len(w.path) > maxPath {
		return "", false, fmt.Errorf("%w: a path of more than %d bytes", ErrUnsupported, maxPath)
	}
	if w.at == len(w.path) {
		return "", false, nil
	}
	if w.at > 0 {
		w.at++ // the slash
	}
	part, _, _ = strings.Cut(w.path[w.at:], "/")
	w.at += len(part)
	return part, true, nil
}

// follow starts again at the root, along a target that the last part walked was a
// link to. As in containerd, ".." takes back the part before it whatever that is,
// and at the root nothing.
func (w *way) follow(target string) error {
	if w.links++; w.links > maxLinks {
		return fmt.Errorf("%w: more than %d symbolic links on the way", ErrUnsupported, maxLinks)
	}
	if !strings.HasPrefix(target, "/") {
		target = path.Dir(w.done()) + "/" + target
	}
	w.path, w.at = strings.TrimPrefix(path.Clean("/"+target+w.path[w.at:]), "/"), 0
	return nil
}
