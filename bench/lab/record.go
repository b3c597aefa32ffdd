//go:build linux

package lab

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// base holds one directory for each lab. It is root's own, so that a name in
// it can be trusted to have been made by a lab.
const base = "/run/shoal-lab"

// record is the trace that a lab leaves outside its namespaces: a directory
// with a tmpfs on it, and a control group of the same name. The name,
// shlPID-START-RANDOM, says whose it is.
type record struct {
	name  string
	store string
	group group
}

// newRecord makes the directory, mounts the tmpfs, and makes the group.
func newRecord(storeBytes int64) (*record, error) {
	start, err := startTime(os.Getpid())
	if err != nil {
		return nil, err
	}
	dir, err := makeRecordDir(fmt.Sprintf("shl%d-%d-", os.Getpid(), start))
	if err != nil {
		return nil, err
	}
	r := openRecord(filepath.Base(dir))
	if err := r.fill(storeBytes); err != nil {
		return nil, errors.Join(err, r.remove())
	}
	return r, nil
}

// makeRecordDir tries again when the last lab of another process takes the base
// away between the two steps.
func makeRecordDir(prefix string) (dir string, err error) {
	for range 3 {
		if err = os.MkdirAll(base, 0o755); err != nil {
			return "", err
		}
		if dir, err = os.MkdirTemp(base, prefix); err == nil {
			return dir, nil
		}
	}
	return "", err
}

func openRecord(name string) *record {
	return &record{name: name, store: filepath.Join(base, name, "store"), group: rootGroup(name)}
}

func (r *record) fill(storeBytes int64) error {
	if err := os.Chmod(filepath.Join(base, r.name), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(r.store, 0o755); err != nil {
		return err
	}
	if err := r.group.make(); err != nil {
		return err
	}
	options := fmt.Sprintf("mode=0755,size=%d", storeBytes)
	if err := unix.Mount("shoal-lab", r.store, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mounting a tmpfs: %w", err)
	}
	return nil
}

// remove takes away all of it. It may be called again after a failure.
func (r *record) remove() error {
	var errs []error
	if err := r.group.remove(); err != nil {
		errs = append(errs, err)
	}
	err := unix.Unmount(r.store, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		errs = append(errs, fmt.Errorf("unmounting %s: %w", r.store, err))
		return errors.Join(errs...) // never delete through a mount
	}
	if err := os.RemoveAll(filepath.Join(base, r.name)); err != nil {
		errs = append(errs, err)
	}
	_ = os.Remove(base) // succeeds for the last lab only
	return errors.Join(errs...)
}

// sweep removes what labs of processes that are gone have left.
func sweep(log *slog.Logger) error {
	entries, err := os.ReadDir(base)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if !entry.IsDir() || !abandoned(entry.Name()) {
			continue
		}
		log.Debug("removing an abandoned lab", "name", entry.Name())
		errs = append(errs, openRecord(entry.Name()).remove())
	}
	return errors.Join(errs...)
}

// abandoned reports whether name is a lab's and its process has ended.
func abandoned(name string) bool {
	rest, ok := strings.CutPrefix(name, "shl")
	parts := strings.Split(rest, "-")
	if !ok || len(parts) != 3 {
		return false
	}
	pid, err := strconv.Atoi(parts[0])
	if err != nil || pid <= 0 {
		return false
	}
	start, err := strconv.ParseUint(parts[1], 10, 64)
	if err != nil {
		return false
	}
	now, err := startTime(pid)
	return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) || err == nil && now != start
}

// startTime is when a process began, in clock ticks since boot: with the
// process id it names a process for good.
func startTime(pid int) (uint64, error) {
	fields, err := procStat(pid)
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// procStat returns the fields of /proc/PID/stat from the state on, which is
// the third; the second may itself hold spaces and brackets.
func procStat(pid int) ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	line := string(text)
	fields := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(fields) < 20 {
		return nil, fmt.Errorf("/proc/%d/stat: only %d fields", pid, len(fields))
	}
	return fields, nil
}
