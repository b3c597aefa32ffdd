//go:build linux

package lazyfs

import (
	"errors"
	"path/filepath"
	"slices"

	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
)

// fuseType is the file system's type in the mount table.
const fuseType = "fuse.shoal"

// clearStale unmounts what a daemon that was killed left: mounts in the run
// directory, and those on recorded targets that show it.
func (d *Daemon) clearStale(recorded []*Record) error {
	mounts, err := mountpoint.List()
	if err != nil {
		return err
	}
	targets := map[string]bool{}
	for _, r := range recorded {
		for _, m := range r.Mounts {
			targets[m.Target] = true
		}
	}
	trees := map[string]bool{} // devices that read through the file system that went
	for _, m := range mounts {
		if filepath.Dir(m.Point) == d.treeRoot() {
			trees[m.Device], targets[m.Point] = true, true
		}
	}
	var errs []error
	for _, m := range slices.Backward(mounts) {
		if !d.stale(m, targets, trees) {
			continue
		}
		d.log.Info("unmounting what an earlier daemon left", "target", m.Point)
		errs = append(errs, mountpoint.Unmount(m.Point, true))
	}
	return errors.Join(errs...)
}

func (d *Daemon) stale(m mountpoint.Mount, targets, trees map[string]bool) bool {
	if !targets[m.Point] {
		return m.Point == d.mountDir()
	}
	return m.Type == fuseType || trees[m.Device] || stacked(m, d.mountDir(), d.treeRoot())
}
