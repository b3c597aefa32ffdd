package testimage

import (
	"archive/tar"
	"fmt"
	"math/rand/v2"
	"path"
	"strings"
)

// Shuffled is an image of a few layers of random entries over few names, so that
// they meet in every way: it replaces, removes, links and hides whatever it finds.
// What unpackers disagree on is left out: symbolic links are no parents, and a
// whiteout has entries for its parents. They may refuse the image even so, where an
// entry lies below a file or a link leads nowhere.
func Shuffled(seed uint64) Case {
	s := &shuffler{rand.New(rand.NewPCG(seed, 7))}
	c := Case{Name: fmt.Sprintf("shuffled %d", seed)}
	for range 2 + s.IntN(4) {
		var e []Entry
		for range s.IntN(20) {
			e = s.entry(e)
		}
		c.Layers = append(c.Layers, Tar(e...))
	}
	return c
}

type shuffler struct{ *rand.Rand }

// dir is a directory's path, of one to three parts; "" sometimes.
func (s *shuffler) dir() string {
	parts := make([]string, s.IntN(4))
	for i := range parts {
		parts[i] = string(rune('a' + s.IntN(3)))
	}
	return strings.Join(parts, "/")
}

func (s *shuffler) name() string {
	name := []string{"f", "g", "h", "l"}[s.IntN(4)]
	if s.IntN(15) == 0 {
		name = string(rune('a' + s.IntN(3))) // in a directory's place
	}
	if dir := s.dir(); dir != "" {
		return dir + "/" + name
	}
	return name
}

// parents appends entries for the directories above a name.
func (s *shuffler) parents(e []Entry, name string) []Entry {
	for i, c := range name {
		if c == '/' {
			e = append(e, Dir(name[:i], []int64{0o755, 0o700, 0o770}[s.IntN(3)]).at(int64(1+s.IntN(1e9)), 0))
		}
	}
	return e
}

func (s *shuffler) entry(e []Entry) []Entry {
	name := s.name()
	if s.IntN(2) == 0 {
		e = s.parents(e, name)
	}
	switch s.IntN(10) {
	case 0:
		return append(s.parents(e, name), Whiteout(name))
	case 1:
		if dir := s.dir(); dir != "" {
			return append(s.parents(e, dir+"/"), Opaque(dir))
		}
		return e
	case 2:
		if strings.ContainsAny(path.Base(name), "abc") {
			return e
		}
		return append(e, Symlink(name, s.name()).owned(s.IntN(9), 1))
	case 3:
		return s.link(e, name)
	case 4:
		return append(e, node(name, '6', 0, 0))
	case 5, 6:
		return s.parents(e, strings.TrimPrefix(s.dir()+"/", "/"))
	}
	return append(e, File(name, 0o644, fmt.Append(nil, s.Uint64())).at(int64(1+s.IntN(1e9)), 0))
}

// link links to a file of the same layer, which may be gone by then, with the
// file's attributes: containerd sets a hard link's own, umoci does not.
func (s *shuffler) link(e []Entry, name string) []Entry {
	last := map[string]Entry{}
	var files []string
	for _, x := range e {
		last[x.Header.Name] = x
		if x.Header.Typeflag == tar.TypeReg && !strings.Contains(x.Header.Name, ".wh.") {
			files = append(files, x.Header.Name)
		}
	}
	if len(files) == 0 {
		return e
	}
	to := last[files[s.IntN(len(files))]]
	if to.Header.Typeflag != tar.TypeReg {
		return e
	}
	return append(e, HardLink(name, to.Header.Name).at(to.Header.ModTime.Unix(), 0))
}
