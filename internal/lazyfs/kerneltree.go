//go:build linux

package lazyfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/fuse"
	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
	"github.com/shoal-project/shoal/internal/mounter"
)

// treeRoot has a directory for each image whose tree the kernel reads itself: an
// EROFS, whose devices are the files in which FUSE shows the image's objects. So
// names, attributes and pages that were read once cost no request, and of a file
// that is opened only the missing bytes do. All that shows the image so is bound
// from there.
func (d *Daemon) treeRoot() string { return filepath.Join(d.cfg.RunDir, "trees") }

func (d *Daemon) treeDir(r *Record) string {
	return filepath.Join(d.treeRoot(), r.Image.Tree.Hex())
}

// lazyDir is the directory that shows an image of which bytes may be missing: by the
// kernel's reading of the tree if it can, else by FUSE alone. d.mu is held.
func (d *Daemon) lazyDir(im *image) string {
	if !d.cfg.KernelTree || im.refusedTree {
		return d.imageDir(im.record)
	}
	if im.kernelTree {
		return d.treeDir(im.record)
	}
	if err := d.mountTree(im); err != nil {
		im.refusedTree = true
		d.log.Warn("the kernel cannot read the image's tree itself; names and attributes are served by this daemon, too",
			"image", im.record.Image.Reference, "error", err)
		return d.imageDir(im.record)
	}
	im.kernelTree = true
	return d.treeDir(im.record)
}

// mountTree has the kernel mount an image's tree over FUSE's files. d.mu is held.
func (d *Daemon) mountTree(im *image) error {
	dir := d.treeDir(im.record)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	mount, err := d.mounter.Mount(mounter.Order{
		Tree:    diskstore.Path(d.storeDir(), im.record.Image.Tree),
		Objects: fuse.ObjectsDir(d.mountDir(), im.record.Image.Tree.Hex()), Devices: len(im.tree.devices),
		ReadAhead: d.cfg.FUSE.ReadAhead,
	})
	if err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	defer mount.Close()
	return mountpoint.Attach(mount, dir)
}

// adoptTree takes over an earlier daemon's. d.mu is held.
func (d *Daemon) adoptTree(im *image) {
	im.kernelTree = d.tookOver && mountedErofs(d.treeDir(im.record))
}

// clearTree takes the kernel's reading of a tree from sight at the daemon's end, and
// the mounts of an image that an earlier daemon left and this one could not serve;
// who uses it elsewhere keeps it. d.mu is held.
func (d *Daemon) clearTree(r *Record) error {
	var err error
	if d.images[r.Image.Tree] == nil {
		for _, m := range r.Mounts {
			mounted, there, failed := mountpoint.Topmost(m.Target)
			if there && !m.Native && d.shows(mounted, m) {
				failed = mountpoint.Unmount(m.Target, true)
			}
			err = errors.Join(err, failed)
		}
	}
	return errors.Join(err, retireDir(d.treeDir(r)))
}

func mountedErofs(dir string) bool {
	m, _, err := mountpoint.Topmost(dir)
	return err == nil && m.Type == nativeType
}
