package testimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"time"
)

// Case is an image of the corpus: layers that unpackers get wrong.
type Case struct {
	Name   string
	Layers []Source // tar streams, the lowest first
	// Refused: unpackers refuse the image, or may.
	Refused bool
	// Alone names the one reference that says what is right, if they differ:
	// "umoci" or "containerd".
	Alone string
	// Like names a case that must come to the same tree, if no reference knows.
	Like string
}

// Corpus is all small images of the corpus. Together they have some 40 MB.
func Corpus() []Case {
	var all []Case
	for _, part := range [][]Case{plainCases(), whiteoutCases(), linkCases(), nameCases(), attributeCases(), contentCases(), sparseCases(), hostileCases()} {
		all = append(all, part...)
	}
	return all
}

// stack is a case of layers, each given by its entries.
func stack(name string, layers ...[]Entry) Case {
	c := Case{Name: name}
	for _, entries := range layers {
		c.Layers = append(c.Layers, Tar(entries...))
	}
	return c
}

// entries reads better than a slice literal in a table.
func entries(e ...Entry) []Entry { return e }

func (c Case) refused() Case { c.Refused = true; return c }

func (c Case) alone(reference string) Case { c.Alone = reference; return c }

// at gives an entry a modification time. What whole seconds cannot hold makes it
// a PAX member.
func (e Entry) at(sec, nsec int64) Entry {
	e.Header.ModTime = time.Unix(sec, nsec)
	if nsec != 0 || sec < 0 {
		e.Header.Format = tar.FormatPAX
	}
	return e
}

// owned gives an entry an owner.
func (e Entry) owned(uid, gid int) Entry {
	e.Header.Uid, e.Header.Gid = uid, gid
	return e
}

// in gives an entry a tar format.
func (e Entry) in(format tar.Format) Entry {
	e.Header.Format = format
	return e
}

// text is a small file that holds its own name and more.
func text(name string, more ...string) Entry {
	return File(name, 0o644, fmt.Appendf(nil, "%s %v\n", name, more))
}

// blob is a file of size pseudo-random bytes.
func blob(name string, seed uint64, size int64) Entry {
	return Entry{
		Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: size},
		Open:   randomBytes(seed, 3<<32, size),
	}
}

// mixed is a file of random pieces and zeros of the given lengths in turn.
func mixed(name string, seed uint64, lengths ...int64) Entry {
	var size int64
	for _, n := range lengths {
		size += n
	}
	open := func() (io.ReadCloser, error) {
		var parts []io.Reader
		random := chacha(seed, 4<<32)
		for i, n := range lengths {
			from := random
			if i%2 == 1 {
				from = zeros{}
			}
			parts = append(parts, io.LimitReader(from, n))
		}
		return io.NopCloser(io.MultiReader(parts...)), nil
	}
	return Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: size}, Open: open}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// node is a device or fifo.
func node(name string, typ byte, major, minor int64) Entry {
	return Entry{Header: tar.Header{Typeflag: typ, Name: name, Mode: 0o660, Devmajor: major, Devminor: minor}}
}

// Raw is a stream of whole members, each a multiple of 512 bytes, and the
// archive's end.
func Raw(members ...[]byte) Source {
	all := append(bytes.Join(members, nil), make([]byte, 1024)...)
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(all)), nil }
}

func plainCases() []Case {
	twice := entries(Dir("a", 0o755), text("a/f"), blob("a/big", 1, 1<<20))
	many := func(n int) [][]Entry {
		layers := make([][]Entry, n)
		for i := range layers {
			layers[i] = entries(Dir("d", 0o755).at(int64(i), 0), text(fmt.Sprintf("d/%03d", i)), text("d/same", fmt.Sprint(i)))
			if i%7 == 6 {
				layers[i] = append(layers[i], Whiteout(fmt.Sprintf("d/%03d", i-3)))
			}
		}
		return layers
	}
	return []Case{
		stack("one file", entries(text("f"))),
		stack("empty layer", nil),
		stack("empty layers between", nil, entries(text("a")), nil, entries(text("b")), nil),
		stack("same layer twice", twice, twice),
		stack("same layer twice around a whiteout", twice, entries(Whiteout("a")), twice),
		stack("60 layers", many(60)...),
		stack("128 layers", many(128)...),
		stack("odd entries", entries(Dir("etc", 0o755), text("etc/removed"), Dir("gone", 0o755), text("gone/below")), OddEntries()).alone("containerd"),
	}
}
