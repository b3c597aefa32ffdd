package testimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
)

// perFolder is how many entries of a large image lie in a directory.
const perFolder = 100

// Many is an image of about n entries in two layers: files mostly of a few
// hundred bytes, with directories, both kinds of links and extended attributes
// among them. The second layer, a tenth of the first, replaces, removes and adds.
func Many(n int) Case {
	return Case{Name: fmt.Sprintf("%d entries", n), Layers: []Source{
		produced(func(w io.Writer) error { return writeMany(w, n, 1, func(i int) Entry { return numbered(i, "first") }) }),
		produced(func(w io.Writer) error { return writeMany(w, n, 10, changed) }),
	}}
}

// writeMany writes every step-th entry of n with the directory before it, if the
// entry is its first.
func writeMany(w io.Writer, n, step int, entry func(int) Entry) error {
	tw := tar.NewWriter(w)
	for i := 0; i < n; i += step {
		if i%perFolder == 0 {
			if err := writeEntry(tw, Dir(folder(i), 0o755).at(int64(i), 0)); err != nil {
				return err
			}
			continue
		}
		if err := writeEntry(tw, entry(i)); err != nil {
			return err
		}
	}
	return tw.Close()
}

func folder(i int) string {
	i /= perFolder
	return fmt.Sprintf("many/%02d/%03d/%d", i%17, i%211, i)
}

func numberedName(i int) string { return fmt.Sprintf("%s/entry-number-%07d", folder(i), i) }

func numbered(i int, what string) Entry {
	name := numberedName(i)
	switch {
	case i%20 == 7:
		return Symlink(name, fmt.Sprintf("../%d", i))
	case i%20 == 8: // after a file of the same directory
		return HardLink(name, numberedName(i-2))
	case i%50 == 9:
		return text(name, what).WithXattr("user.number", fmt.Sprint(i%10))
	case i%4 == 0:
		return File(name, 0o644, bytes.Repeat(fmt.Appendf(nil, "%d %s\n", i, what), 40)) // some 500 bytes
	}
	return text(name, what)
}

// changed is what the second layer does at number i.
func changed(i int) Entry {
	switch i % 3 {
	case 0:
		return Whiteout(numberedName(i))
	case 1:
		return numbered(i, "second")
	}
	return text(folder(i)+"/more-"+fmt.Sprint(i), "added")
}

// Hollow is an image of one file of size bytes, most of them zeros, stored as
// they are: at its beginning, its middle and its end it has something.
func Hollow(size int64) Case {
	half := size/2 - 1<<20
	return stack(fmt.Sprintf("a file of %d bytes", size), entries(Dir("d", 0o755), mixed("d/hollow", 1, 1<<20, half, 5000, size-half-1<<20-5000-77, 77)))
}
