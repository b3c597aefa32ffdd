package testimage

import (
	"archive/tar"
	"fmt"
)

// capability is security.capability for cap_net_raw=ep, version 2.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// acl is a POSIX access list: owner rwx, user 1000 r--, group r-x, mask r-x, others ---.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xe8\x03\x00\x00" +
	"\x04\x00\x05\x00\xff\xff\xff\xff" + "\x10\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

func attributeCases() []Case {
	var modes, owners, shared []Entry
	for _, mode := range []int64{0, 0o1, 0o777, 0o4755, 0o2755, 0o1777, 0o6711, 0o7777, 0o4000} {
		modes = append(modes, File(fmt.Sprintf("f%o", mode), mode, []byte("x")), Dir(fmt.Sprintf("d%o", mode), mode), text(fmt.Sprintf("d%o/f", mode)))
	}
	for _, id := range []int{0, 1, 65534, 65535, 65536, 1 << 20, 1<<31 - 1, 1<<32 - 2} {
		owners = append(owners, text(fmt.Sprintf("o%d", id)).owned(id, id), Symlink(fmt.Sprintf("l%d", id), "x").owned(id, id), Dir(fmt.Sprintf("d%d", id), 0o755).owned(id, id))
	}
	for i := range 300 {
		shared = append(shared, text(fmt.Sprintf("x/%d", i)).WithXattr("user.same", "shared by all of them").WithXattr("user.own", fmt.Sprint(i%7)))
	}
	value := func(n int) string {
		p := make([]byte, n)
		_, _ = chacha(uint64(n), 5<<32).Read(p)
		return string(p)
	}
	merged := func(sec int64, mode int64) Entry { return Dir("d", mode).at(sec, 0).owned(int(sec), 3) }
	return []Case{
		stack("modes", modes),
		stack("owners", owners),
		stack("devices and fifos", entries(node("null", tar.TypeChar, 1, 3), node("disk", tar.TypeBlock, 8, 17), node("pipe", tar.TypeFifo, 0, 0), node("wide", tar.TypeChar, 4095, 1048575), node("minor", tar.TypeBlock, 259, 70000))),
		stack("device 0:0", entries(text("f"), text("g")), entries(node("f", tar.TypeChar, 0, 0))).alone("containerd"),
		stack("times", entries(text("epoch").at(0, 0), text("ns").at(1600000000, 123456789), text("last ns").at(1, 999999999), text("32 bits").at(1<<31, 1), text("33 bits").at(1<<32+5, 5), Symlink("link", "x").at(5, 6), Dir("d", 0o755).at(7, 8), text("d/f").at(9, 10), node("p", tar.TypeFifo, 0, 0).at(11, 12))),
		stack("times before 1970", entries(text("f").at(-1, 0), text("g").at(-86400, 500), Dir("d", 0o755).at(-1000, 0), Symlink("l", "x").at(-5, 0))).alone("umoci"),
		stack("times beyond the file system's", entries(text("f").at(1<<33, 0), text("g").at(1<<40, 0))).alone("containerd"),
		stack("security.capability", entries(File("ping", 0o755, []byte("ping")).WithXattr("security.capability", capability)), entries(text("other"))),
		stack("capability lost when replaced", entries(File("ping", 0o755, []byte("ping")).WithXattr("security.capability", capability)), entries(File("ping", 0o755, []byte("pong")))),
		stack("extended attributes of the user", entries(text("f").WithXattr("user.a", "1").WithXattr("user.empty", "").WithXattr("user.binary", "\x00\xff\n=").WithXattr("user.ключ", "é"), Dir("d", 0o755).WithXattr("user.dir", "2"), text("d/f"))).alone("containerd"),
		stack("extended attributes of the administrator", entries(text("f").WithXattr("trusted.a", "1").WithXattr("user.b", "2"), Dir("d", 0o755).WithXattr("trusted.overlay.opaque", "y"), text("d/f"))).alone("containerd"),
		stack("extended attributes that share values", shared),
		stack("long extended attributes", entries(text("f").WithXattr("user.long", value(3000)), text("g").WithXattr("user.k", value(1000)).WithXattr("user.l", value(1001)))),
		stack("access lists", entries(File("f", 0o750, []byte("x")).WithXattr("system.posix_acl_access", acl), Dir("d", 0o750).WithXattr("system.posix_acl_default", acl))),
		stack("an unknown extended attribute", entries(text("f").WithXattr("com.apple.quarantine", "x").WithXattr("user.a", "1"))).alone("containerd"),
		stack("directory attributes overridden", entries(merged(1000, 0o700).WithXattr("user.old", "1"), text("d/f"), Dir("d/e", 0o755), text("d/e/f")), entries(merged(2000, 0o2775).WithXattr("user.new", "2"))),
		stack("directory attributes kept under new children", entries(merged(1000, 0o700).WithXattr("user.old", "1"), text("d/f")), entries(text("d/g"), Whiteout("d/f"))),
		stack("attributes of a file replaced", entries(File("f", 0o4755, []byte("1")).owned(7, 8).WithXattr("user.a", "1")), entries(File("f", 0o600, []byte("2")))),
	}
}
