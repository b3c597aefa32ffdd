package testimage

import (
	"fmt"
	"strings"
)

// hostileCases are refused by unpackers, or lead nowhere outside their root.
func hostileCases() []Case {
	var chain, maze []Entry
	for i := range 300 {
		chain = append(chain, Symlink(fmt.Sprintf("l%d", i), fmt.Sprintf("l%d", i+1)))
	}
	for i := range 12 {
		maze = append(maze, Symlink(fmt.Sprintf("m%d", i), strings.Repeat(fmt.Sprintf("m%d/", i+1), 2)))
	}
	return []Case{
		stack("names that leave the root", entries(text("../f"), text("a/../../g"), text("/../../h"))).refused(),
		stack("entry below a link out of the root", entries(Symlink("out", "../../../../../../../../tmp"), text("out/shoal-escaped"))),
		stack("entry below an absolute link out of the root", entries(Symlink("out", "/tmp"), text("out/shoal-escaped"))),
		stack("whiteout below a link out of the root", entries(Symlink("out", "/etc")), entries(Whiteout("out/hostname"))).alone("containerd"),
		stack("hard link out of the root", entries(HardLink("h", "../../../../../../etc/hostname"))).refused(),
		stack("hard link through a link out of the root", entries(Symlink("out", "/etc"), HardLink("h", "out/hostname"))).refused(),
		stack("entry below a file", entries(text("f"), text("f/g"))).refused(),
		stack("entry below a file of the layer below", entries(text("f")), entries(text("f/g"))).alone("containerd"),
		stack("entry below a device", entries(node("n", '3', 1, 3), text("n/g"))).refused(),
		stack("hard link to a directory", entries(Dir("d", 0o755), HardLink("h", "d"))).refused(),
		stack("hard link to nothing", entries(HardLink("h", "nothing"))).refused(),
		stack("hard link to a later entry", entries(HardLink("h", "f"), text("f"))).refused(),
		stack("hard link to itself", entries(text("f"), HardLink("f", "f"))).refused(),
		stack("hard link to a whiteout's victim", entries(text("f")), entries(Whiteout("f"), HardLink("h", "f"))).refused(),
		stack("entry below a link to itself", entries(Symlink("l", "l"), text("l/f"))).refused(),
		stack("entry below a circle of links", entries(Symlink("a", "b"), Symlink("b", "a/x"), text("a/f"))).refused(),
		stack("entry below 300 links", append(chain, text("l0/f"))).refused(),
		stack("entry below a maze of links", append(maze, text("m0/f"))),
	}
}
