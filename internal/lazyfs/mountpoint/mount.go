//go:build linux

package mountpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Check resolves the directory that an image is to be mounted on. It must exist
// and be empty, so that nothing is hidden by mistake.
func Check(target string) (string, error) {
	if !filepath.IsAbs(target) {
		return "", fmt.Errorf("%s is not an absolute path", target)
	}
	resolved, err := filepath.EvalSymlinks(target)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no directory %s; make it with `mkdir -p %s`", target, target)
	}
	if err != nil {
		return "", fmt.Errorf("looking at %s: %w", target, err)
	}
	if mounted, err := At(resolved); err != nil || len(mounted) > 0 {
		return "", errors.Join(err, fmt.Errorf("something is mounted on %s already; unmount it, or take another directory", target))
	}
	entries, err := os.ReadDir(resolved)
	switch {
	case errors.Is(err, unix.ENOTDIR):
		return "", fmt.Errorf("%s is not a directory", target)
	case err != nil:
		return "", fmt.Errorf("looking at %s: %w", target, err)
	case len(entries) > 0:
		return "", fmt.Errorf("%s is not empty; mount on an empty directory", target)
	}
	return resolved, nil
}

// Bind shows the directory source at target too, its files as owners' own.
func Bind(source, target string, as Owners) error {
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return explain("mounting "+source+" on "+target, err, "")
	}
	defer unix.Close(fd)
	if err := mapOwners(fd, as); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", source, target, err)
	}
	return move(fd, target)
}

// Attach shows a mount that nobody sees yet.
func Attach(mount *os.File, target string) error { return move(int(mount.Fd()), target) }

func move(fd int, target string) error {
	if err := unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return explain("mounting on "+target, err, "")
	}
	return nil
}

// Overlay makes a writable view of the directory lower at target: changes go to
// upper, and work, beside it, is the kernel's own.
func Overlay(lower, upper, work, target string) error {
	fd, err := unix.Fsopen("overlay", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return explain("making an overlay", err, "")
	}
	defer unix.Close(fd)
	for _, option := range [][2]string{
		{"source", "shoal"}, {"lowerdir", escape(lower)}, {"upperdir", escape(upper)}, {"workdir", escape(work)},
	} {
		if err := unix.FsconfigSetString(fd, option[0], option[1]); err != nil {
			return explain("making an overlay: "+option[0], err, kernelLog(fd))
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		err = explain("making an overlay with its upper directory in "+filepath.Dir(upper), err, kernelLog(fd))
		if errors.Is(err, unix.EINVAL) {
			err = fmt.Errorf("%w; the scratch directory must not lie on an overlay, FUSE or NFS: name another with --scratch", err)
		}
		return err
	}
	mount, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return explain("mounting an overlay", err, kernelLog(fd))
	}
	defer unix.Close(mount)
	return move(mount, target)
}

// escape keeps overlay from reading a path as a list of paths.
func escape(path string) string { return strings.NewReplacer(`\`, `\\`, `:`, `\:`).Replace(path) }

// ErrBusy says that processes use a mount.
var ErrBusy = errors.New("it is in use")

// Unmount takes the topmost mount at target away: ErrBusy if something uses it.
// A detached one goes from sight at once, and for good when its last user ends.
// No mount there is no error.
func Unmount(target string, detach bool) error {
	flags := unix.UMOUNT_NOFOLLOW
	if detach {
		flags |= unix.MNT_DETACH
	}
	switch err := unix.Unmount(target, flags); {
	case err == nil, errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("unmounting %s: %w (`fuser -vm %s` says by whom)", target, ErrBusy, target)
	default:
		return explain("unmounting "+target, err, "")
	}
}

// Used tells whether anything uses the topmost mount at target, and leaves it there.
func Used(target string) (bool, error) {
	// The first call of this kind only marks a mount that nothing uses.
	err := unix.Unmount(target, unix.MNT_EXPIRE|unix.UMOUNT_NOFOLLOW)
	switch {
	case errors.Is(err, unix.EBUSY):
		return true, nil
	case err == nil, errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return false, nil
	}
	return false, explain("looking whether "+target+" is in use", err, "")
}
