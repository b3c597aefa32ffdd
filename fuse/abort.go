//go:build linux

package fuse

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// abortConnection ends a FUSE connection, named by the device number of its
// mounts, wherever those are. It needs no mount of the control file system that
// others could see.
func abortConnection(device string) error {
	_, minor, _ := strings.Cut(device, ":")
	context, err := unix.Fsopen("fusectl", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("abort connection %s: %w", device, err)
	}
	defer unix.Close(context)
	if err := unix.FsconfigCreate(context); err != nil {
		return fmt.Errorf("abort connection %s: %w", device, err)
	}
	control, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("abort connection %s: %w", device, err)
	}
	defer unix.Close(control)
	file, err := unix.Openat(control, minor+"/abort", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("abort connection %s: %w", device, err)
	}
	defer unix.Close(file)
	if _, err := unix.Write(file, []byte("1")); err != nil {
		return fmt.Errorf("abort connection %s: %w", device, err)
	}
	return nil
}
