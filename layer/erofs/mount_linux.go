package erofs

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxParameter is the longest path that fsconfig(2) takes, with its final zero.
const maxParameter = 256

// Mount has the kernel mount the image at path tree, read-only, on the directory
// target, as [Detached] does.
func Mount(tree string, devices []string, readAhead int64, target string) error {
	mount, err := Detached(tree, devices, readAhead)
	if err != nil {
		return err
	}
	defer mount.Close()
	if err := unix.MoveMount(int(mount.Fd()), "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount image tree on %s: %w", target, err)
	}
	return nil
}

// Detached has the kernel mount the image at path tree, read-only, where nobody sees
// it yet: move_mount(2) shows it, and without that it ends when the file is closed.
// devices are the paths of the image's objects, in the order of its device table.
// Relative paths count from the working directory; none may be longer than 255
// bytes. readAhead is how far the kernel reads ahead of a sequential reader, in
// bytes; 0 leaves that to it (128 KiB).
//
// The kernel reads the holes of a file as zeros, without an error, and Detached
// refuses a file of the wrong length, but cannot tell an incomplete one: its devices
// must be complete and keep unchanged while mounted, or belong to a file system
// that fails, or waits, where bytes are missing. The mount keeps them open. It must
// not be made by the process that serves such a file system, because that could not
// be killed while it waits for its own answer.
//
// It needs CAP_SYS_ADMIN, and a kernel that mounts EROFS from files (Linux 6.12
// with CONFIG_EROFS_FS_BACKED_BY_FILE). An error for the lack of kernel support
// is [errors.ErrUnsupported].
func Detached(tree string, devices []string, readAhead int64) (*os.File, error) {
	if err := checkDevices(tree, devices); err != nil {
		return nil, fmt.Errorf("mount image tree: %w", err)
	}
	context, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount image tree: %w", explainOpen(err))
	}
	defer unix.Close(context)
	before := settings()
	if err := configure(context, tree, devices); err != nil {
		return nil, fmt.Errorf("mount image tree %s: %w", tree, err)
	}
	setReadAhead(before, readAhead)
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("mount image tree: fsmount: %w", err)
	}
	return os.NewFile(uintptr(mount), tree), nil
}

// settings are the kernel's directories of settings, one for each EROFS that is
// mounted from files. Their numbers say nothing of which is whose.
func settings() map[string]bool {
	all := map[string]bool{}
	found, _ := filepath.Glob("/sys/class/bdi/erofs-*") // the pattern is good
	for _, dir := range found {
		all[dir] = true
	}
	return all
}

// setReadAhead sets the read-ahead of the EROFS that was not among those before. If
// another came at the same time, or the kernel's settings cannot be written here,
// it stays as it is, which costs speed alone.
func setReadAhead(before map[string]bool, bytes int64) {
	mine := settings()
	maps.DeleteFunc(mine, func(dir string, _ bool) bool { return before[dir] })
	if bytes == 0 || len(mine) != 1 {
		return
	}
	for dir := range mine {
		_ = os.WriteFile(dir+"/read_ahead_kb", []byte(strconv.FormatInt(bytes>>10, 10)), 0)
	}
}

func configure(context int, tree string, devices []string) error {
	if err := setPath(context, "source", tree); err != nil {
		return err
	}
	for _, device := range devices {
		if err := setPath(context, "device", device); err != nil {
			return err
		}
	}
	if err := unix.FsconfigSetFlag(context, "ro"); err != nil {
		return fmt.Errorf("set ro: %w", err)
	}
	if err := unix.FsconfigCreate(context); err != nil {
		return explainCreate(context, err)
	}
	return nil
}

func setPath(context int, key, path string) error {
	if len(path) >= maxParameter {
		return fmt.Errorf("path has more than %d bytes, which the kernel does not take: %s", maxParameter-1, path)
	}
	if err := unix.FsconfigSetString(context, key, path); err != nil {
		return fmt.Errorf("set %s %s: %w", key, path, err)
	}
	return nil
}

// checkDevices compares the files with the image's device table.
func checkDevices(tree string, devices []string) error {
	f, err := os.Open(tree)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < tableAt || info.Size() != int64(int(info.Size())) {
		return fmt.Errorf("%w: %s has %d bytes", ErrCorrupt, tree, info.Size())
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", tree, err)
	}
	defer func() { _ = unix.Munmap(b) }()
	im, err := Open(b)
	if err != nil {
		return err
	}
	if im.Devices() != len(devices) {
		return fmt.Errorf("%s needs %d objects, %d given: %w", tree, im.Devices(), len(devices), fs.ErrInvalid)
	}
	for i, path := range devices {
		if err := checkDevice(im, i, path); err != nil {
			return err
		}
	}
	return nil
}

func checkDevice(im *Image, i int, path string) error {
	want, err := im.Device(i)
	if err != nil {
		return err
	}
	if slot, _ := im.slot(i); slot[slotShort] != 0 {
		return fmt.Errorf("a file ends in the short last block of %s, and the tree does not have its last bytes: %w",
			want.Object, errors.ErrUnsupported)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() != want.Size {
		return fmt.Errorf("%s has %d bytes, its object %s has %d: %w", path, info.Size(), want.Object, want.Size, fs.ErrInvalid)
	}
	return nil
}

func explainOpen(err error) error {
	switch {
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("the kernel has no EROFS (CONFIG_EROFS_FS, or modprobe erofs): %w", errors.ErrUnsupported)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("the kernel has no fsopen(2), it needs Linux 5.2: %w", errors.ErrUnsupported)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("it needs CAP_SYS_ADMIN: %w", err)
	}
	return fmt.Errorf("fsopen: %w", err)
}

func explainCreate(context int, err error) error {
	if errors.Is(err, unix.ENOTBLK) {
		return fmt.Errorf("the kernel does not mount EROFS from files, it needs Linux 6.12 with "+
			"CONFIG_EROFS_FS_BACKED_BY_FILE: %w", errors.ErrUnsupported)
	}
	if said := messages(context); said != "" {
		return fmt.Errorf("%w (the kernel says: %s)", err, said)
	}
	return err
}

// messages are what the kernel has to say of a failed step; it gives one a read,
// and keeps few.
func messages(context int) string {
	var all []string
	b := make([]byte, 4096)
	for len(all) < 16 {
		n, err := unix.Read(context, b)
		if err != nil || n <= 0 {
			break
		}
		all = append(all, strings.TrimSpace(string(b[:n])))
	}
	return strings.Join(all, "; ")
}
