//go:build linux

package main

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dropPages gives back the pages of the program file that this process touched: one
// that does nearly nothing for weeks should not count as large. The kernel reads
// what is needed again from the file.
func dropPages() error {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer f.Close()
	unchanged, err := unchangedMappings(f)
	if err != nil {
		return err
	}
	for _, m := range unchanged {
		// Not unix.Madvise, which takes a slice: this memory is not Go's.
		if _, _, failed := unix.Syscall(unix.SYS_MADVISE, m.start, m.length, unix.MADV_DONTNEED); failed != 0 {
			return failed
		}
	}
	return nil
}

// mapping is a part of the address space.
type mapping struct{ start, length uintptr }

// unchangedMappings finds, in the text of /proc/self/smaps, what is in memory as it
// is in a file, and can only be read. A loader may have changed what cannot be
// written now: such pages are anonymous, and would be lost.
func unchangedMappings(smaps io.Reader) (found []mapping, err error) {
	var m mapping
	readable := false
	lines := bufio.NewScanner(smaps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) < 3:
		case fields[0] == "Anonymous:":
			if readable && fields[1] == "0" {
				found = append(found, m)
			}
		case !strings.HasSuffix(fields[0], ":"):
			m, readable = fileMapping(fields)
		}
	}
	return found, lines.Err()
}

// fileMapping is the mapping that a first line of smaps describes (range,
// permissions, offset, device, inode, path), if it is of a file and not writable.
func fileMapping(fields []string) (mapping, bool) {
	if len(fields) < 6 || !strings.HasPrefix(fields[1], "r-") || !strings.HasPrefix(fields[5], "/") {
		return mapping{}, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	first, bad := strconv.ParseUint(from, 16, 64)
	last, worse := strconv.ParseUint(to, 16, 64)
	return mapping{uintptr(first), uintptr(last - first)}, bad == nil && worse == nil && last > first
}
