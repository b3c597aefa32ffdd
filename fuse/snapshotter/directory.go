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

	"golang.org/x/sys/unix"
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
	root, err := s.rootOf(one, parent)
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
	if one.Kind == kindActive {
		if err := os.Mkdir(s.work(one.ID), 0o711); err != nil {
			return fmt.Errorf("making a snapshot's directory: %w", err)
		}
	}
	if err := os.Mkdir(s.upper(one.ID), 0o700); err != nil {
		return fmt.Errorf("making a snapshot's directory: %w", err)
	}
	return wear(s.upper(one.ID), root)
}

// wear makes a directory like a root directory.
func wear(dir string, root Root) error {
	if err := os.Lchown(dir, int(root.UID), int(root.GID)); err != nil {
		return fmt.Errorf("giving a snapshot's directory to its root: %w", err)
	}
	if err := unix.Chmod(dir, root.Mode); err != nil {
		return fmt.Errorf("setting the mode of a snapshot's directory: %w", err)
	}
	return nil
}

// dress makes a new snapshot's root directory like that of the view it lies on.
func (s *Snapshotter) dress(one, on *snapshot) error {
	root, err := s.images.Root(on.user())
	if err == nil {
		root.UID, root.GID, err = outside(one.Labels, root.UID, root.GID)
	}
	if err != nil {
		return fmt.Errorf("the root directory of layer %s: %w", chainOf(on.Name), err)
	}
	return wear(s.upper(one.ID), root)
}

// rootOf is what a new snapshot's root directory is like: as below it, so that it
// looks the same as the image's. On a view that is not known yet; see dress. If
// ids are mapped, root owns it; what lies below is mapped by who mounts it.
func (s *Snapshotter) rootOf(one, parent *snapshot) (Root, error) {
	root := Root{Mode: 0o755}
	uid, gid, err := outside(one.Labels, 0, 0)
	if err != nil {
		return root, err
	}
	if parent != nil && parent.Remote == nil {
		var stat unix.Stat_t
		if err := unix.Lstat(s.upper(parent.ID), &stat); err != nil {
			return root, fmt.Errorf("the layer below: %w", err)
		}
		root = Root{Mode: stat.Mode & 0o7777, UID: stat.Uid, GID: stat.Gid}
	}
	if mapped(one.Labels) {
		root.UID, root.GID = uid, gid
	}
	return root, nil
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
