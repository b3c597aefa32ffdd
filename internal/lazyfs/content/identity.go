//go:build linux

package content

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// identity tells one file from another that took its name, even its number.
type identity struct {
	dev, ino uint64
	born     unix.StatxTimestamp
}

func identify(dirfd int, path string, flags int) (identity, error) {
	var st unix.Statx_t
	err := unix.Statx(dirfd, path, flags, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil {
		return identity{}, fmt.Errorf("looking at the store's file %s: %w", path, err)
	}
	return identity{unix.Mkdev(st.Dev_major, st.Dev_minor), st.Ino, st.Btime}, nil
}

// identifyFile is the identity of an open file, identifyPath that of a name.
func identifyFile(fd uintptr) (identity, error) { return identify(int(fd), "", unix.AT_EMPTY_PATH) }

func identifyPath(path string) (identity, error) {
	return identify(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW)
}
