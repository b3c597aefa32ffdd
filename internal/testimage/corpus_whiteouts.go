package testimage

// deep is a tree with names at every depth that a case can hide.
func deep() []Entry {
	return entries(
		Dir("a", 0o755), text("a/f"), text("a/g"),
		Dir("a/b", 0o750), text("a/b/f"), text("a/b/g"),
		Dir("a/b/c", 0o700), text("a/b/c/f"), text("a/b/c/g"), Symlink("a/b/c/l", "../f"),
		Dir("e", 0o755), text("e/f"),
	)
}

func whiteoutCases() []Case {
	return []Case{
		stack("whiteout of a file at the top", entries(text("f"), text("g")), entries(Whiteout("f"))),
		stack("whiteout of files at every depth", deep(), entries(Whiteout("a/f"), Whiteout("a/b/f"), Whiteout("a/b/c/f"), Whiteout("a/b/c/l"))),
		stack("whiteout of a directory at the top", deep(), entries(Whiteout("a"))),
		stack("whiteout of a directory below", deep(), entries(Whiteout("a/b"))),
		stack("whiteout of a directory deep below", deep(), entries(Whiteout("a/b/c"))),
		stack("whiteout of everything", deep(), entries(Whiteout("a"), Whiteout("e"))),
		stack("whiteout of nothing", deep(), entries(Whiteout("a/nothing"), Whiteout("nothing"))),
		stack("whiteout below a missing directory", deep(), entries(Whiteout("x/y/z"))).alone("containerd"),
		stack("whiteout twice", deep(), entries(Whiteout("a/f")), entries(Whiteout("a/f"))),
		stack("whiteout and back", deep(), entries(Whiteout("a/f")), entries(text("a/f", "again"))),
		stack("whiteout of a directory and back", deep(), entries(Whiteout("a")), entries(Dir("a", 0o711), text("a/new"))),
		stack("whiteout of a directory and back by a missing parent", deep(), entries(Whiteout("a")), entries(text("a/b/new"))).alone("umoci"),
		stack("whiteout before the same file in a layer", deep(), entries(Whiteout("a/f"), text("a/f", "new"))),
		stack("whiteout after the same file in a layer", deep(), entries(text("a/f", "new"), Whiteout("a/f"))).alone("umoci"),
		stack("whiteout before the same directory in a layer", deep(), entries(Whiteout("a"), Dir("a", 0o700), text("a/new"))).alone("umoci"),
		stack("whiteout after the same directory in a layer", deep(), entries(Dir("a", 0o700), text("a/new"), Whiteout("a"))).alone("umoci"),
		stack("whiteout before children of the same directory", deep(), entries(Whiteout("a"), text("a/b/new"))).alone("umoci"),
		stack("whiteout in a layer's own directory", deep(), entries(Dir("n", 0o755), text("n/f"), Whiteout("n/other"))),
		stack("opaque at the top", deep(), entries(Dir("a", 0o755), Opaque("a"), text("a/new"))),
		stack("opaque in the middle", deep(), entries(Dir("a/b", 0o755), Opaque("a/b"), text("a/b/new"))),
		stack("opaque deep below", deep(), entries(Dir("a/b/c", 0o755), Opaque("a/b/c"))),
		stack("opaque root", deep(), entries(Opaque(""), text("new"))).alone("umoci"),
		stack("opaque at every depth", deep(), entries(Dir("a", 0o755), Opaque("a"), Dir("a/b", 0o755), Opaque("a/b"), Dir("a/b/c", 0o755), Opaque("a/b/c"), text("a/b/c/new"))),
		stack("opaque after siblings in a layer", deep(), entries(Dir("a", 0o755), text("a/new"), Dir("a/b", 0o700), text("a/b/new"), Opaque("a"))),
		stack("opaque after siblings with missing parents", deep(), entries(text("a/b/new"), Dir("a", 0o755), Opaque("a"))),
		stack("opaque without the directory's entry", deep(), entries(Opaque("a/b"))),
		stack("opaque in a missing directory", deep(), entries(Opaque("x/y"))).alone("containerd"),
		stack("opaque twice", deep(), entries(Dir("a", 0o755), Opaque("a"), text("a/new"), Opaque("a"))),
		stack("opaque in two layers", deep(), entries(Dir("a", 0o755), Opaque("a"), text("a/one")), entries(Dir("a", 0o755), Opaque("a"), text("a/two"))),
		stack("opaque then merged", deep(), entries(Dir("a", 0o755), Opaque("a"), text("a/one")), entries(Dir("a", 0o711), text("a/two"))),
		stack("opaque and whiteout of the same directory", deep(), entries(Dir("a/b", 0o755), Opaque("a/b"), text("a/b/new"), Whiteout("a/g"))),
		stack("directory becomes file and back", deep(), entries(text("a", "file")), entries(Dir("a", 0o700), text("a/f", "back"))),
		stack("file becomes directory", deep(), entries(Dir("a/f", 0o755), text("a/f/inner"))),
		stack("directory becomes link", deep(), entries(Symlink("a", "e"))),
		stack("link becomes directory", entries(Dir("e", 0o755), text("e/f"), Symlink("a", "e")), entries(Dir("a", 0o700), text("a/g"))),
		stack("whiteout and file in place of a directory", deep(), entries(Whiteout("a/b"), text("a/b", "file"))),
		stack("a name that only begins like a whiteout", entries(text(".whatever"), text(".wh"), text("a.wh.b"))),
		stack("whiteout through a linked parent of the layer below", append(deep(), Symlink("link", "a/b")), entries(Whiteout("link/f"))).alone("containerd"),
		stack("whiteout through a linked parent of the same layer", deep(), entries(Dir("a", 0o755), Dir("a/b", 0o750), Symlink("link", "a/b"), Whiteout("link/f"))),
	}
}
