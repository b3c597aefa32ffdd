//go:build linux

package mountpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/layer/erofs"
)

// Scratch is the directory of a writable mount: what it changed, and the
// kernel's own.
type Scratch string

// Upper is where the changes are.
func (s Scratch) Upper() string { return filepath.Join(string(s), "upper") }

// Work is the kernel's own.
func (s Scratch) Work() string { return filepath.Join(string(s), "work") }

// Make makes the directories. The upper one is what the overlay shows as the
// root, so it is made like the image's, for the same owners.
func (s Scratch) Make(tree *erofs.Image, as Owners) error {
	var root erofs.Inode
	root, err := tree.Inode(tree.Root())
	if err != nil {
		return fmt.Errorf("reading the image's root: %w", err)
	}
	user, group, err := as.Outside(root.UID, root.GID)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.Work(), 0o700); err != nil {
		return fmt.Errorf("making the scratch directory: %w; name another with --scratch", err)
	}
	switch err := os.Mkdir(s.Upper(), 0o700); {
	case errors.Is(err, os.ErrExist):
		return nil // from before a restart
	case err != nil:
		return fmt.Errorf("making the scratch directory: %w; name another with --scratch", err)
	}
	return s.dress(tree, &root, user, group)
}

func (s Scratch) dress(tree *erofs.Image, root *erofs.Inode, user, group int) error {
	upper := s.Upper()
	err := errors.Join(os.Chown(upper, user, group), unix.Chmod(upper, root.Mode&0o7777))
	err = errors.Join(err, tree.Xattrs(root, func(name string, value []byte) bool {
		err = errors.Join(err, unix.Lsetxattr(upper, name, value, 0))
		return true
	}))
	at := time.Unix(root.Sec, int64(root.Nsec))
	if err = errors.Join(err, os.Chtimes(upper, at, at)); err != nil {
		return fmt.Errorf("making the scratch directory like the image's root: %w", err)
	}
	return nil
}

// Remove removes the directories with everything in them.
func (s Scratch) Remove() error {
	// overlay leaves work/work with mode 0, which root may remove all the same
	if err := os.RemoveAll(string(s)); err != nil {
		return fmt.Errorf("removing the scratch directory: %w", err)
	}
	return nil
}
