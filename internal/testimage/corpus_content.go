package testimage

import "fmt"

func contentCases() []Case {
	var sizes, copies []Entry
	for i, n := range []int64{0, 1, 255, 256, 257, 511, 512, 513, 4095, 4096, 4097, 65535, 65536, 1<<20 - 1, 1 << 20, 1<<20 + 1, 4<<20 - 1, 4 << 20, 4<<20 + 1} {
		sizes = append(sizes, blob(fmt.Sprintf("s%d", n), uint64(i), n))
	}
	for i := range 200 {
		copies = append(copies, blob(fmt.Sprintf("c%03d", i), uint64(i%20), 2000))
	}
	return []Case{
		stack("files of every size", sizes),
		stack("files of zeros", entries(mixed("z1", 1, 0, 1), mixed("z300", 1, 0, 300), mixed("z5000", 1, 0, 5000), mixed("z1M", 1, 0, 1<<20), mixed("z4M", 1, 0, 4<<20), mixed("z9M", 1, 0, 9<<20+7))),
		stack("files with zeros inside", entries(mixed("first", 1, 1, 12<<20), mixed("last", 2, 0, 8<<20, 5), mixed("middle", 3, 4<<20, 8<<20, 100), mixed("turns", 4, 4<<20, 4<<20, 4<<20, 4<<20, 9), mixed("unaligned", 5, 5, 9<<20, 7))),
		stack("the same files again", copies, copies[:100], entries(blob("again", 3, 2000), blob("large", 9, 2<<20)), entries(blob("copy", 9, 2<<20))),
		stack("a small file changes in place", append(copies, blob("x", 1, 700)), entries(blob("x", 2, 700)), entries(blob("x", 1, 700))),
		stack("a large file is replaced", entries(blob("x", 1, 5<<20)), entries(blob("x", 2, 100))),
	}
}
