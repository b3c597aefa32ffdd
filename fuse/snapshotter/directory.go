//go:build linux

package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

func (s *Snapshotter) snapshotsDir() string { return filepath.Join(s.cfg.Root, "snapshots") }

func (s *Snapshotter) dir(id uint64) string {
	return filepath.Join(s.snapshotsDir(), strconv.FormatUint(id, 10))
}

func (s *Snapshotter) upper(id uint64) string { return filepath.Join(s.dir(id), "fs") }
func (s *Snapshotter) work(id uint64) string  { return filepath.Join(s.dir(id), "work") }

// makeDir makes an ordinary snapshot's directories. What lies there from a
// transaction that came to nothing is replaced.
func (s *Snapshotter) makeDir(one, parent *snapshot) error {
	uid, gid, err := s.rootOf(one, parent)
	if err != nil {
		return err
	}
	dir := s.dir(one.ID)
	if err := removeDir(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("making a snapshot's directory: %w", err)
	}
	if err := mkdir(s.upper(one.ID), 0o755); err != nil {
		return err
	}
	if one.Kind == kindActive {
		if err := mkdir(s.work(one.ID), 0o711); err != nil {
			return err
		}
	}
	if err := os.Lchown(s.upper(one.ID), uid, gid); err != nil {
		return fmt.Errorf("giving a snapshot's directory to its root: %w", err)
	}
	return nil
}

// mkdir makes a directory with exactly that mode, whatever the umask is.
func mkdir(dir string, mode fs.FileMode) error {
	if err := os.Mkdir(dir, mode); err != nil {
		return fmt.Errorf("making a snapshot's directory: %w", err)
	}
	return os.Chmod(dir, mode)
}

// rootOf is who owns a new snapshot's root: whom its ids are mapped to, else the
// owner below it.
func (s *Snapshotter) rootOf(one, parent *snapshot) (uid, gid int, err error) {
	if uid, gid, mapped, err := mappedRoot(one.Labels); err != nil || mapped {
		return uid, gid, err
	}
	if parent == nil || parent.Remote != nil {
		return 0, 0, nil
	}
	info, err := os.Stat(s.upper(parent.ID))
	if err != nil {
		return 0, 0, fmt.Errorf("the layer below: %w", err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return int(stat.Uid), int(stat.Gid), nil
}

func removeDir(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("deleting a snapshot's directory: %w", err)
	}
	return nil
}

// cleanup deletes directories that no snapshot has.
func (s *Snapshotter) cleanup() error {
	var leftover []string
	// In a writing transaction no other one is making directories.
	err := s.store.update(func(t tx) error {
		known := map[string]bool{}
		if err := t.each(func(one *snapshot) error {
			known[strconv.FormatUint(one.ID, 10)] = true
			return nil
		}); err != nil {
			return err
		}
		entries, err := os.ReadDir(s.snapshotsDir())
		for _, e := range entries {
			if !known[e.Name()] {
				leftover = append(leftover, filepath.Join(s.snapshotsDir(), e.Name()))
			}
		}
		return err
	})
	for _, dir := range leftover {
		s.log.Info("deleting what a snapshot left", "directory", dir)
		err = errors.Join(err, removeDir(dir))
	}
	return err
}

// diskUsage is what a directory takes: blocks and inodes, hard links once. What
// goes meanwhile is not counted.
func diskUsage(ctx context.Context, dir string) (bytes, inodes int64, err error) {
	seen := map[[2]uint64]bool{}
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var info fs.FileInfo
		if err == nil {
			info, err = entry.Info()
		}
		if errors.Is(err, fs.ErrNotExist) && path != dir {
			return nil
		}
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		inode := [2]uint64{stat.Dev, stat.Ino}
		if !seen[inode] {
			seen[inode] = true
			bytes += stat.Blocks * 512
			inodes++
		}
		return nil
	})
	return bytes, inodes, err
}
