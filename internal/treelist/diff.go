package treelist

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Ignore says what of two listings is not to be compared, each because some
// unpacker or file system cannot keep it.
type Ignore struct {
	// Unpacked, if not zero: a directory whose wanted time is not before it was
	// last touched by the unpacker itself, and its time says nothing.
	Unpacked time.Time
	DirTimes bool // every directory's time
	DirNlink bool // directories' numbers of links
	Nlink    bool // all other numbers of links; which names share an inode is compared
	Root     bool // the root's own attributes; its children are compared
	// Xattrs tells an attribute that is left out on both sides. Nil leaves out none.
	Xattrs func(name string) bool
	// Max bounds the lines; 0 is 50.
	Max int
}

// Diff tells every difference between two listings in lines, at most Max and one
// that says how many more there are. No line means the same tree.
func Diff(want, got []Entry, ig Ignore) []string {
	d := &differ{ig: ig, max: ig.Max}
	if d.max == 0 {
		d.max = 50
	}
	byPath := make(map[Name]*Entry, len(got))
	for i := range got {
		byPath[got[i].Path] = &got[i]
	}
	for i := range want {
		w := &want[i]
		g, here := byPath[w.Path]
		if !here {
			d.say("%q: missing %s", w.Path, w.kind())
			continue
		}
		delete(byPath, w.Path)
		d.compare(w, g)
	}
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		d.say("%q: a %s that should not be there", path, byPath[path].kind())
	}
	if d.more > 0 {
		d.lines = append(d.lines, fmt.Sprintf("and %d more differences", d.more))
	}
	return d.lines
}

type differ struct {
	ig    Ignore
	max   int
	lines []string
	more  int
}

func (d *differ) say(format string, args ...any) {
	if len(d.lines) == d.max {
		d.more++
		return
	}
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

func (d *differ) compare(w, g *Entry) {
	if w.Path == "." && d.ig.Root {
		return
	}
	if w.kind() != g.kind() {
		d.say("%q: a %s instead of a %s", w.Path, g.kind(), w.kind())
		return
	}
	differs(d, w.Path, "mode", fmt.Sprintf("%o", w.Mode), fmt.Sprintf("%o", g.Mode))
	differs(d, w.Path, "owner", w.UID, g.UID)
	differs(d, w.Path, "group", w.GID, g.GID)
	differs(d, w.Path, "size", w.Size, g.Size)
	differs(d, w.Path, "device", w.Rdev, g.Rdev)
	if w.Target != g.Target {
		d.say("%q: target is %s, not %s", w.Path, short(g.Target), short(w.Target))
	}
	differs(d, w.Path, "content", w.Sum, g.Sum)
	if !d.touched(w) {
		differs(d, w.Path, "mtime", stamp(w), stamp(g))
	}
	d.links(w, g)
	d.xattrs(w, g)
}

func differs[T comparable](d *differ, path Name, what string, want, got T) {
	if want != got {
		d.say("%q: %s is %v, not %v", path, what, got, want)
	}
}

// touched tells whether a wanted directory's time is the unpacker's own doing.
func (d *differ) touched(w *Entry) bool {
	return w.IsDir() && (d.ig.DirTimes || !d.ig.Unpacked.IsZero() && !time.Unix(w.Sec, w.Nsec).Before(d.ig.Unpacked))
}

func (d *differ) links(w, g *Entry) {
	differs(d, w.Path, "first name of its inode", w.First, g.First)
	if w.IsDir() && d.ig.DirNlink || !w.IsDir() && d.ig.Nlink {
		return
	}
	differs(d, w.Path, "number of links", w.Nlink, g.Nlink)
}

func (d *differ) xattrs(w, g *Entry) {
	names := map[Name]bool{}
	for name := range w.Xattrs {
		names[name] = true
	}
	for name := range g.Xattrs {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if d.ig.Xattrs != nil && d.ig.Xattrs(string(name)) {
			continue
		}
		wv, wanted := w.Xattrs[name]
		gv, gotten := g.Xattrs[name]
		switch {
		case !gotten:
			d.say("%q: extended attribute %q is missing", w.Path, name)
		case !wanted:
			d.say("%q: extended attribute %q should not be there", w.Path, name)
		case wv != gv:
			d.say("%q: extended attribute %q is %s, not %s", w.Path, name, short(gv), short(wv))
		}
	}
}

func stamp(e *Entry) string { return fmt.Sprintf("%d.%09d", e.Sec, e.Nsec) }

// short quotes a value; of a long one its ends and its length.
func short(n Name) string {
	if len(n) <= 120 {
		return fmt.Sprintf("%q", n)
	}
	return fmt.Sprintf("%q…%q (%d bytes)", n[:50], n[len(n)-50:], len(n))
}
