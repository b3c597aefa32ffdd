//go:build linux

package lazyfs

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
)

// inUse names what would fail somebody if it went: mounts that are in use,
// containers' directories that stand on an image, and layers that podman's storage
// has. An image that containerd only has is not in use. What the kernel serves
// itself counts if it is to go, too.
func (d *Daemon) inUse(native bool) (used []string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	mounts, err := mountpoint.List()
	layers := map[string]int{} // by image
	for _, r := range d.recordsLocked() {
		for _, m := range r.Mounts {
			if m.Native && !native {
				continue
			}
			busy, failed := mountpoint.Used(m.Target)
			if busy {
				used = append(used, m.Target)
			}
			err = errors.Join(err, failed)
		}
		if r.Image.Layer != nil && len(r.Users) > 0 {
			layers[r.Image.Reference]++
			continue // containers name it by links of their storage
		}
		for _, point := range d.standOn(r, mounts, native) {
			used = append(used, fmt.Sprintf("%s, by %s", r.Image.Reference, point))
		}
	}
	for reference, n := range layers {
		used = append(used, fmt.Sprintf("%d layers of %s, by podman or CRI-O (and for layer_store.idle after they are removed)", n, reference))
	}
	slices.Sort(used)
	return used, err
}

// standOn are the mounts of others that show an image: overlays over it, and bind
// mounts of it.
func (d *Daemon) standOn(r *Record, mounts []mountpoint.Mount, native bool) (points []string) {
	kernels := []string{d.treeDir(r)}
	if native {
		kernels = append(kernels, d.nativeDir(r))
	}
	dirs := append([]string{d.imageDir(r)}, kernels...)
	shown := func(m mountpoint.Mount) bool {
		return m.Type == "overlay" && slices.ContainsFunc(dirs, func(dir string) bool { return hasLower(m.Super, dir) }) ||
			d.session.is(m) && m.Root == "/"+r.Image.Tree.Hex() ||
			m.Type == nativeType && slices.ContainsFunc(mounts, func(of mountpoint.Mount) bool {
				return slices.Contains(kernels, of.Point) && of.Device == m.Device
			})
	}
	for _, m := range mounts {
		own := slices.Contains(kernels, m.Point) || slices.ContainsFunc(r.Mounts, func(of Mount) bool { return of.Target == m.Point })
		if !own && shown(m) {
			points = append(points, m.Point)
		}
	}
	return points
}

// hasLower tells whether a directory is among the lower ones in an overlay's
// options. Engines may have named it relative to what all of them have in common.
func hasLower(options, dir string) bool {
	short := filepath.Join(filepath.Base(filepath.Dir(dir)), filepath.Base(dir))
	for option := range strings.SplitSeq(options, ",") {
		name, list, _ := strings.Cut(option, "=")
		if name != "lowerdir" && name != "lowerdir+" {
			continue
		}
		for lower := range strings.SplitSeq(list, ":") {
			if lower == dir || lower == short {
				return true
			}
		}
	}
	return false
}
