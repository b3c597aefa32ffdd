//go:build linux

package reader

import (
	"fmt"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// become replaces this process by a program in the image: Root is its root, with
// the machine's /dev and an empty /tmp, in a mount namespace that ends with it.
// The image needs the directories /dev and /tmp.
func become(job Job) error {
	if len(job.Command) == 0 {
		return fmt.Errorf("no program is named")
	}
	runtime.LockOSThread() // what becomes the program must be the thread that has the namespace
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("making a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("/dev", filepath.Join(job.Root, "dev"), "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting the image's /dev: %w", err)
	}
	if err := unix.Mount("tmp", filepath.Join(job.Root, "tmp"), "tmpfs", 0, "mode=1777"); err != nil {
		return fmt.Errorf("mounting the image's /tmp: %w", err)
	}
	if err := unix.Chroot(job.Root); err != nil {
		return fmt.Errorf("entering %s: %w", job.Root, err)
	}
	if err := unix.Chdir("/" + job.Dir); err != nil {
		return fmt.Errorf("entering /%s of the image: %w", job.Dir, err)
	}
	if err := unix.Exec(job.Command[0], job.Command, job.Env); err != nil {
		return fmt.Errorf("running %s of the image: %w", job.Command[0], err)
	}
	return nil
}
