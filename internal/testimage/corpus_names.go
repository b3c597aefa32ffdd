package testimage

import (
	"archive/tar"
	"fmt"
	"strings"
)

func nameCases() []Case {
	longest := strings.Repeat("n", 255)
	path := strings.TrimSuffix(strings.Repeat(strings.Repeat("p", 99)+"/", 12), "/") // 1,199 bytes
	target := strings.Repeat("t/", 2000)                                             // 4,000 bytes
	long := func(format tar.Format) []Entry {
		return entries(Dir("l", 0o755), text("l/"+longest).in(format), Symlink("l/s", target).in(format),
			text(path+"/f").in(format), HardLink("l/h", path+"/f").in(format))
	}
	every := make([]byte, 0, 255)
	for c := 1; c < 256; c++ {
		if c != '/' {
			every = append(every, byte(c))
		}
	}
	var sorted []Entry
	for c := 1; c < 256; c++ {
		if c != '/' && c != '.' {
			sorted = append(sorted, text("s/"+string([]byte{byte(c)})).in(tar.FormatGNU), text("s/"+string([]byte{byte(c), 'x'})).in(tar.FormatGNU))
		}
	}
	var filled []Entry
	for i := range 3000 {
		filled = append(filled, text(fmt.Sprintf("full/%0*d", 1+i%200, i)))
	}
	return []Case{
		stack("PAX long names", long(tar.FormatPAX)),
		stack("GNU long names", long(tar.FormatGNU)),
		stack("long names over the layers", long(tar.FormatPAX), entries(Whiteout("l/h"), text("l/"+longest, "2"), Whiteout(path[:99]+"/"+path[100:199]))),
		stack("names that are not UTF-8", entries(text("\xff\xfe").in(tar.FormatGNU), Symlink("l", "\xff\xfe").in(tar.FormatGNU), HardLink("h", "\xff\xfe").in(tar.FormatGNU), text("d\xe9/\xe9").in(tar.FormatGNU))),
		stack("a name of every byte", entries(text("e/"+string(every)).in(tar.FormatGNU))),
		stack("names in byte order", sorted),
		stack("names of every length in one directory", filled),
		stack("names with dots", entries(text("..."), text("..a"), text(".a"), text("a."), text("a.."), Dir(".d", 0o755), text(".d/..f"))),
		stack("names below ./", entries(Dir("./a", 0o755), text("./a/f"), text("./g"), HardLink("./h", "./a/f"), Symlink("./s", "./a/f")), entries(Whiteout("./a/f"), Dir("./a/b", 0o700))),
		stack("absolute names", entries(Dir("/a", 0o755), text("/a/f"), HardLink("/h", "/a/f"))),
		stack("names with dots and doubled slashes", entries(Dir("a", 0o755), text("a//f"), text("a/./g"), text("a/x/../h"), Dir("a//d/", 0o700))),
		stack("root entry", entries(Dir(".", 0o711).at(12345, 0).owned(5, 6), text("./f"))).alone("containerd"),
		stack("duplicate files in a layer", entries(text("f", "1"), text("g"), text("f", "2"), text("f", "3"))),
		stack("duplicate directories in a layer", entries(Dir("d", 0o755).at(1, 0), text("d/f"), Dir("d", 0o700).at(2, 0))),
		stack("duplicates of other types in a layer", entries(text("x"), Dir("x", 0o755), text("x/f"), Symlink("y", "x"), text("y"), Dir("z", 0o755), text("z/f"), Symlink("z", "x"))),
		stack("missing parents", entries(text("a/b/c/d/e/f")), entries(text("a/b/g"), text("n/e/w"))),
		stack("missing parents that come later", entries(text("a/b/f"), Dir("a/b", 0o700).at(9, 0), Dir("a", 0o711).at(8, 0))),
		stack("deep", entries(text(strings.Repeat("d/", 1000)+"f"))),
	}
}
