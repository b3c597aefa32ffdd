//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// childHandle opens a file by handle after the kernel dropped what it knew of it.
func childHandle(args []string) (any, error) {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, args[1], 0)
	if err != nil {
		return nil, fmt.Errorf("name to handle: %w", err)
	}
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		return nil, err
	}
	dir, err := unix.Open(args[0], unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	fd, err := unix.OpenByHandleAt(dir, h, unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open by handle: %w", err)
	}
	buf := make([]byte, 100)
	n, err := unix.Read(fd, buf)
	return string(buf[:max(n, 0)]), err
}

// childAccess reads files as another user, and says how that fails.
func childAccess(args []string) (any, error) {
	uid, err := strconv.Atoi(args[0])
	if err != nil {
		return nil, err
	}
	if err := unix.Setgroups(nil); err != nil {
		return nil, err
	}
	if err := errors.Join(syscall.Setgid(uid), syscall.Setuid(uid)); err != nil {
		return nil, err
	}
	return childErrno(args[1:])
}

// childOverlay mounts overlays upon a directory, one upon the other, in a mount
// namespace of its own, and gives what a changed file then has in each.
func childOverlay(args []string) (any, error) {
	lower, work := args[0], args[1]
	depth, err := strconv.Atoi(args[2])
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return nil, err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", work, "tmpfs", 0, ""); err != nil {
		return nil, err
	}
	var got []string
	for i := range depth {
		base := fmt.Sprintf("%s/%d", work, i)
		for _, d := range []string{"/up", "/work", "/merged"} {
			if err := os.MkdirAll(base+d, 0o755); err != nil {
				return nil, err
			}
		}
		data := fmt.Sprintf("lowerdir=%s,upperdir=%s/up,workdir=%s/work", lower, base, base)
		if err := unix.Mount("overlay", base+"/merged", "overlay", 0, data); err != nil {
			return append(got, errnoName(err)), nil
		}
		lower = base + "/merged"
		f, err := os.OpenFile(lower+"/f", os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		fmt.Fprint(f, "+", i)
		f.Close()
		b, err := os.ReadFile(lower + "/f")
		if err != nil {
			return nil, err
		}
		got = append(got, string(b))
	}
	return got, nil
}
