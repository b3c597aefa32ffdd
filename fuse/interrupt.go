//go:build linux

package fuse

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// dying tells whether a thread has SIGKILL pending. A deadly signal of any kind
// reaches every thread of a process as SIGKILL. Thread 0 is one that this process
// cannot see, of another pid namespace: nothing is known of it.
func dying(pid uint32) bool {
	if pid == 0 {
		return false
	}
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(pid), 10) + "/status")
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
	}
	return pendingKill(status, "SigPnd:") || pendingKill(status, "ShdPnd:")
}

func pendingKill(status []byte, field string) bool {
	_, rest, found := bytes.Cut(status, []byte("\n"+field))
	if !found {
		return false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	mask, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 64)
	return err == nil && mask&(1<<(syscall.SIGKILL-1)) != 0
}
