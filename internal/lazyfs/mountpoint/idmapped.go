//go:build linux

package mountpoint

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// mapOwners has a mount that nobody sees yet show files as others' own. A mount's
// map cannot be changed later.
func mapOwners(mount int, as Owners) error {
	if as.None() {
		return nil
	}
	namespace, err := as.namespace()
	if err != nil {
		return err
	}
	defer namespace.Close()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(namespace.Fd())}
	if err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &attr); err != nil {
		return explainMap(err)
	}
	return nil
}

func explainMap(err error) error {
	hint := ""
	switch {
	case errors.Is(err, unix.ENOSYS):
		hint = "this kernel is too old; use Linux 5.12 or later"
	case errors.Is(err, unix.EINVAL):
		hint = "the kernel cannot do that for this file system: lazy images need Linux 6.12 and fuse.idmapped, native ones Linux 5.19"
	case errors.Is(err, unix.EPERM):
		hint = "run as root, outside of a user namespace"
	}
	if hint == "" {
		return fmt.Errorf("mapping the ids of a mount: %w", err)
	}
	return fmt.Errorf("mapping the ids of a mount: %w; %s", err, hint)
}

// namespace is a new user namespace with the maps. The kernel makes one only for
// a process; the process made for it stops before its program's first
// instruction, and is killed.
func (o Owners) namespace() (*os.File, error) {
	users, groups, err := o.ranges()
	if err != nil {
		return nil, err
	}
	// A traced process goes on when the thread that traces it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	process, err := os.StartProcess("/proc/self/exe", []string{"lazyfs-ids"}, &os.ProcAttr{
		Sys: &syscall.SysProcAttr{
			Cloneflags: unix.CLONE_NEWUSER, UidMappings: sysMap(users), GidMappings: sysMap(groups),
			GidMappingsEnableSetgroups: true, Ptrace: true, Pdeathsig: unix.SIGKILL,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making a user namespace: %w; user.max_user_namespaces must be above 0, and a container's seccomp profile must allow it", err)
	}
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", process.Pid))
	killed := process.Kill()
	if _, waited := process.Wait(); errors.Join(killed, waited) != nil {
		err = errors.Join(err, killed, waited)
	}
	if err != nil {
		if namespace != nil {
			namespace.Close()
		}
		return nil, fmt.Errorf("taking a user namespace: %w", err)
	}
	return namespace, nil
}

func sysMap(ranges []idRange) []syscall.SysProcIDMap {
	all := make([]syscall.SysProcIDMap, len(ranges))
	for i, r := range ranges {
		all[i] = syscall.SysProcIDMap{ContainerID: r.inside, HostID: r.outside, Size: r.size}
	}
	return all
}
