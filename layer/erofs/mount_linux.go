package erofs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// maxParameter is the longest path that fsconfig(2) takes, with its final zero.
const maxParameter = 256

// Mount has the kernel mount the image at path tree, read-only, on the directory
// target; devices are the paths of its objects, in the order of its device table.
// The caller unmounts it. Relative paths count from the working directory; none
// may be longer than 255 bytes.
//
// The kernel reads the holes of an incomplete object as zeros, without an error.
// Mount refuses a file of the wrong length, but it cannot tell an incomplete one:
// mount over complete objects only, and keep their files unchanged while mounted.
// The mount keeps them open.
//
// It needs CAP_SYS_ADMIN, and a kernel that mounts EROFS from files (Linux 6.12
// with CONFIG_EROFS_FS_BACKED_BY_FILE). An error for the lack of kernel support
// is [errors.ErrUnsupported].
func Mount(tree string, devices []string, target string) error {
	if err := checkDevices(tree, devices); err != nil {
		return fmt.Errorf("mount image tree: %w", err)
	}
	context, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("mount image tree: %w", explainOpen(err))
	}
	defer unix.Close(context)
	if err := configure(context, tree, devices); err != nil {
		return fmt.Errorf("mount image tree %s: %w", tree, err)
	}
	mount, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_RDONLY)
	if err != nil {
		return fmt.Errorf("mount image tree: fsmount: %w", err)
	}
	defer unix.Close(mount)
	if err := unix.MoveMount(mount, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("mount image tree on %s: %w", target, err)
	}
	return nil
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
