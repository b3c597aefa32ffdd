//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/layer/erofs"
)

func TestMappedIDs(t *testing.T) {
	tr := newTree()
	f := tr.inline("f", []byte("x"))
	f.UID, f.GID, f.Mode = 5, 6, erofs.ModeRegular|0o600
	_, _, img := withImage(t, Default(), tr, newMemory(t))
	var got mappedIDs
	run(t, &got, "mapped", img)
	if got.Cannot != "" {
		t.Skip("SKIP: this kernel cannot map the ids of FUSE mounts: " + got.Cannot)
	}
	if got.UID != 100005 || got.GID != 100006 {
		t.Errorf("%+v", got)
	}
}

type mappedIDs struct {
	Cannot   string // why not, if it cannot be done here
	UID, GID uint32
}

// childMapped mounts a directory with ids moved by 100,000, and stats a file in it.
func childMapped(args []string) (any, error) {
	holder := exec.Command("/bin/sleep", "60")
	holder.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: 100000, Size: 65536}},
		GidMappings: []syscall.SysProcIDMap{{HostID: 100000, Size: 65536}},
	}
	if err := holder.Start(); err != nil {
		return mappedIDs{Cannot: err.Error()}, nil
	}
	defer holder.Wait()
	defer holder.Process.Kill()
	users, err := unix.Open(fmt.Sprintf("/proc/%d/ns/user", holder.Process.Pid), unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, args[0], unix.OPEN_TREE_CLONE)
	if err != nil {
		return nil, err
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(users)}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); errors.Is(err, unix.EINVAL) {
		return mappedIDs{Cannot: err.Error()}, nil
	} else if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(tree, "f", &st, 0); err != nil {
		return nil, err
	}
	return mappedIDs{UID: st.Uid, GID: st.Gid}, nil
}
