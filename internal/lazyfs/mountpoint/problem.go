//go:build linux

package mountpoint

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Privileged tells what this process lacks to mount at all.
func Privileged() error {
	if os.Geteuid() != 0 {
		return errors.New("mounting needs root; run this as root (in a container: with CAP_SYS_ADMIN and /dev/fuse)")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("the kernel offers no FUSE here: %w; load it with `modprobe fuse`, or give the container /dev/fuse", err)
	}
	return nil
}

// explain says what an error of a mount call means. log is the kernel's own
// explanation, if it gave one.
func explain(what string, err error, log string) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ENOSYS):
		hint = "this kernel is too old; use Linux 5.2 or later"
	case errors.Is(err, unix.ENODEV):
		hint = "this kernel does not have that file system; load it with `modprobe overlay`"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		hint = "run as root; a container needs CAP_SYS_ADMIN, and its seccomp profile must allow mounting"
	case errors.Is(err, unix.ENOSPC):
		hint = "there are too many mounts; raise fs.mount-max"
	}
	text := fmt.Errorf("%s: %w", what, err)
	if log != "" {
		text = fmt.Errorf("%w (%s)", text, log)
	}
	if hint != "" {
		text = fmt.Errorf("%w; %s", text, hint)
	}
	return text
}

// kernelLog is what the kernel wrote about a mount that failed.
func kernelLog(fd int) string {
	var lines []string
	buf := make([]byte, 1024)
	for range 8 {
		n, err := unix.Read(fd, buf)
		if err != nil || n <= 0 {
			break
		}
		// "e overlay: …": a class and the text
		lines = append(lines, strings.TrimSpace(strings.TrimLeft(string(buf[:n]), "ewi ")))
	}
	return strings.Join(lines, "; ")
}
