package testimage

func linkCases() []Case {
	pair := entries(Dir("d", 0o755), text("d/one"), HardLink("d/two", "d/one"), HardLink("three", "d/one"))
	linked := entries(Dir("real", 0o710).at(77, 0), text("real/f"), Symlink("link", "real"), Symlink("abs", "/real"), Symlink("up", "../../../real"), Symlink("chain", "link"))
	return []Case{
		stack("hard links in a layer", pair),
		stack("hard link whose target is replaced later", pair, entries(text("d/one", "replaced"))),
		stack("hard link whose target is removed later", pair, entries(Whiteout("d/one"))),
		stack("hard links whose directory is removed later", pair, entries(Whiteout("d"))),
		stack("hard links all replaced", pair, entries(text("d/one", "1"), text("d/two", "2"), text("three", "3"))),
		stack("hard link to the layer below", pair, entries(HardLink("four", "d/one"))).alone("umoci"),
		stack("hard link to the layer below that is then removed", pair, entries(HardLink("four", "d/one"), Whiteout("d"))).alone("umoci"),
		stack("hard link replaced by its like", pair, entries(Dir("d", 0o755), text("d/one", "new"), HardLink("d/two", "d/one"))),
		stack("hard link to a symbolic link", entries(text("f"), Symlink("s", "f"), HardLink("t", "s"))),
		stack("hard link to a dangling symbolic link", entries(Symlink("s", "/nowhere"), HardLink("t", "s"))),
		stack("hard link to a fifo and a device", entries(node("p", '6', 0, 0), HardLink("q", "p"), node("c", '3', 1, 3), HardLink("d", "c"))).alone("containerd"),
		stack("hard link to a hard link", entries(text("f"), HardLink("g", "f"), HardLink("h", "g"))),
		stack("hard link over a file", entries(text("f"), text("g"), HardLink("g", "f"))),
		stack("hard link over a directory", entries(text("f"), Dir("g", 0o755), text("g/x"), HardLink("g", "f"))),
		stack("hard link whose target is replaced in the layer", entries(text("f"), HardLink("g", "f"), text("f", "new"))),
		stack("hard link with an absolute and a dotted target", entries(text("f"), HardLink("g", "/f"), HardLink("h", "./f"), HardLink("i", "x/../f"))),
		stack("hard link through a linked parent", entries(Dir("real", 0o755), text("real/f"), Symlink("link", "real"), HardLink("g", "link/f"))),
		stack("hard link to a large and an empty file", entries(blob("big", 5, 3<<20), HardLink("big2", "big"), File("empty", 0o600, nil), HardLink("empty2", "empty"))).alone("containerd"),
		stack("entry below a link of the same layer", append(linked, text("link/g"), text("abs/h"), text("up/i"), text("chain/j"), Dir("chain/k", 0o755))),
		stack("entry below a link of the layer below", linked, entries(text("link/g"))).alone("containerd"),
		stack("entry below an absolute link of the layer below", linked, entries(text("abs/x/g"))).alone("containerd"),
		stack("entry below a chain of links of the layer below", linked, entries(text("chain/g"))).alone("containerd"),
		stack("entry below a dangling link of the same layer", entries(Symlink("link", "made/here"), text("link/f"))),
		stack("entry below a dangling link of the layer below", entries(Symlink("link", "made/here")), entries(text("link/f"))).alone("containerd"),
		stack("directory entry over a link of the same layer", entries(Dir("real", 0o755), text("real/f"), Symlink("link", "real"), Dir("link", 0o700), text("link/g"))),
		stack("symbolic links of all kinds", entries(Symlink("self", "self"), Symlink("dot", "."), Symlink("up", ".."), Symlink("root", "/"), Symlink("odd", "a//b/../ c\n"), Symlink("proc", "/proc/self/exe"))),
		stack("link replaced by link", entries(Symlink("l", "one")), entries(Symlink("l", "two"))),
	}
}
