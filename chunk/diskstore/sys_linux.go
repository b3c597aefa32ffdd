package diskstore

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// onFd calls op with f's descriptor, which stays open until op returns.
func onFd(f *os.File, op func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var opErr error
	closed := conn.Control(func(fd uintptr) {
		for {
			if opErr = op(int(fd)); !errors.Is(opErr, unix.EINTR) {
				return
			}
		}
	})
	if closed != nil { // its one reason; the error itself does not say os.ErrClosed
		return os.ErrClosed
	}
	return opErr
}

// syncData makes f's bytes and length durable, but not its times.
func syncData(f *os.File) error { return onFd(f, unix.Fdatasync) }

// punch gives n bytes at off back to the file system; they read as zero.
func punch(f *os.File, off, n int64) error {
	return onFd(f, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// zero makes n bytes at off read as zeros, without taking room if the file
// system can.
func zero(f *os.File, off, n int64) error {
	err := punch(f, off, n)
	if err == nil || errors.Is(err, os.ErrClosed) {
		return err
	}
	return writeZeros(f, off, n)
}

// openPlain opens a file for reading, but no link, and nothing that would wait
// or that is not a plain file.
func openPlain(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return plainOnly(f, err)
}

// bootID names this run of the kernel: what it holds in memory is lost when the
// name changes. Empty if unknown.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// allocated is how many bytes of the disk a file takes, -1 if unknown.
func allocated(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return -1
}

// freeBytes is what the file system of dir has left for this process.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return -1, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// lockFile takes the store's lock without waiting; it goes with the process.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s is held by another process: stop it, or give this one a store directory of its own", path)
		}
		return nil, err
	}
	return f, nil
}

// noRoom tells whether err means that the disk, or a quota on it, is full.
func noRoom(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}
