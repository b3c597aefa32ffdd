//go:build linux

package lazyfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/internal/lazyfs/content"
	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
	"github.com/shoal-project/shoal/internal/progress"
	"github.com/shoal-project/shoal/layer/erofs"
)

// nativeType is the kernel's file system of complete images.
const nativeType = "erofs"

// nativeRoot has a directory for each image that the kernel serves itself. All
// that shows the image natively is bound from there, so that its pages are cached
// once.
func (d *Daemon) nativeRoot() string { return filepath.Join(d.cfg.RunDir, "native") }

func (d *Daemon) nativeDir(r *Record) string {
	return filepath.Join(d.nativeRoot(), r.Image.Tree.Hex())
}

// mustGraduate is graduate, and refuses an image of which anything is missing: the
// kernel would read zeros there. d.mu is held.
func (d *Daemon) mustGraduate(ctx context.Context, im *image) error {
	im.content.Learn(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := whole(im.content.Progress()); err != nil {
		return err
	}
	_, err := d.graduate(im)
	return err
}

func whole(p content.Progress) error {
	if p.Whole() {
		return nil
	}
	return fmt.Errorf("%s of %s are not on this node yet (%d of %d objects), and the kernel would read zeros there; mount without --native, and again when `lazyfs status` says complete (`lazyfs mount --wait` waits)",
		progress.Bytes(p.Bytes-p.Present), progress.Bytes(p.Bytes), p.Objects-p.Complete, p.Objects)
}

// graduate has the kernel serve a complete image below the run directory, and
// tells whether it does. d.mu is held.
func (d *Daemon) graduate(im *image) (bool, error) {
	if im.native {
		return true, nil
	}
	if !im.content.Whole() {
		return false, nil
	}
	dir := d.nativeDir(im.record)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("making %s: %w", dir, err)
	}
	store := d.storeDir()
	devices := make([]string, len(im.tree.devices))
	for i, device := range im.tree.devices {
		devices[i] = diskstore.Path(store, device.Object)
	}
	if err := erofs.Mount(diskstore.Path(store, im.record.Image.Tree), devices, d.cfg.FUSE.ReadAhead, dir); err != nil {
		return false, err
	}
	im.native = true
	d.log.Info("the kernel serves the image itself from now on, where it is mounted anew", "image", im.record.Image.Reference)
	return true, nil
}

// root is the directory that shows an image to whoever mounts it now: the
// kernel's own if it is complete, else the lazy one. d.mu is held.
func (d *Daemon) root(im *image) (dir string, native bool) {
	if d.cfg.Graduate {
		native, err := d.graduate(im)
		if native {
			return d.nativeDir(im.record), true
		}
		if err != nil && !im.refused {
			im.refused = true
			d.log.Warn("the kernel cannot serve the image itself; it is served by this daemon", "image", im.record.Image.Reference, "error", err)
		}
	}
	return d.lazyDir(im), false
}

// adoptNative takes over what an earlier daemon had the kernel serve. d.mu is held.
func (d *Daemon) adoptNative(im *image) {
	im.native = mountedErofs(d.nativeDir(im.record))
}

// retire takes the kernel's views of an image away; who uses one elsewhere keeps it.
func (d *Daemon) retire(r *Record) error {
	return errors.Join(retireDir(d.treeDir(r)), retireDir(d.nativeDir(r)))
}

func retireDir(dir string) error {
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := mountpoint.Unmount(dir, true); err != nil {
		return err
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", dir, err)
	}
	return nil
}

// shows tells whether what is mounted is the mount m: an overlay on the image's
// view, or that view itself. Of views that FUSE serves only the living one counts.
func (d *Daemon) shows(mounted mountpoint.Mount, m Mount) bool {
	if !m.Native && !d.tookOver {
		return false
	}
	if m.Writable() {
		return m.Native && stacked(mounted, d.nativeRoot()) || !m.Native && stacked(mounted, d.mountDir(), d.treeRoot())
	}
	return mounted.Type == nativeType || !m.Native && d.session.is(mounted)
}

// stacked tells an overlay on an image's view below one of the directories.
func stacked(m mountpoint.Mount, roots ...string) bool {
	return m.Type == "overlay" && slices.ContainsFunc(roots, func(root string) bool { return strings.Contains(m.Super, root+"/") })
}

// retireUnknown takes away what no record speaks of, such as that of a record
// that was lost.
func (d *Daemon) retireUnknown(recorded []*Record) {
	known := map[string]bool{}
	for _, r := range recorded {
		known[d.nativeDir(r)], known[d.treeDir(r)] = true, true
	}
	for _, root := range []string{d.nativeRoot(), d.treeRoot()} {
		entries, err := os.ReadDir(root)
		if err != nil {
			continue // there is none
		}
		for _, e := range entries {
			dir := filepath.Join(root, e.Name())
			if known[dir] {
				continue
			}
			if err := retireDir(dir); err != nil {
				d.log.Warn("taking away a view of an image that nobody knows of", "directory", dir, "error", err)
			}
		}
	}
}

// retireIdle takes a native view away that nobody was shown.
func (d *Daemon) retireIdle(im *image) error {
	used := slices.ContainsFunc(im.record.Mounts, func(m Mount) bool { return m.Native })
	if !im.native || used || len(im.record.Users) > 0 {
		return nil
	}
	im.native = false
	return retireDir(d.nativeDir(im.record))
}
