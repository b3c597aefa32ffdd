//go:build linux

package layerstore

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A storage is a directory in which containers/storage keeps layers and images:
// podman's --root, /var/lib/containers/storage if it is not given. It says of each
// layer that it took from a store where that is, in overlay/<id>/additionallayer.

// storageLocks are the locks of a storage, of which a process that takes a layer
// into it holds some open.
var storageLocks = []string{"/overlay-layers/layers.lock", "/overlay-images/images.lock", "/storage.lock"}

// storageOf finds the storage that a process works on, by the locks that it has
// open; "" if it cannot be told.
func storageOf(pid uint32) string {
	descriptors := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(descriptors)
	if err != nil {
		return ""
	}
	found := ""
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(descriptors, e.Name()))
		if err != nil {
			continue
		}
		for _, lock := range storageLocks {
			dir, ok := strings.CutSuffix(target, lock)
			switch {
			case !ok:
			case found == "" && filepath.IsAbs(dir) && isStorage(dir):
				found = dir
			case found != "" && found != dir && isStorage(dir):
				return "" // it works on two
			}
		}
	}
	return found
}

func isStorage(dir string) bool {
	st, err := os.Stat(filepath.Join(dir, "overlay"))
	return err == nil && st.IsDir()
}

// referrers counts the layers of storages that are the one at this path below any
// store's directory. A storage that is gone has none; one that cannot be read is an
// error, because it may have some.
func referrers(storages []string, path string) (int, error) {
	count := 0
	for _, dir := range storages {
		entries, err := os.ReadDir(filepath.Join(dir, "overlay"))
		if err != nil && !os.IsNotExist(err) {
			return 0, fmt.Errorf("reading the storage %s: %w", dir, err)
		}
		for _, e := range entries {
			pointer, err := os.ReadFile(filepath.Join(dir, "overlay", e.Name(), "additionallayer"))
			if err == nil && strings.HasSuffix(string(pointer), "/"+path) {
				count++
			}
		}
	}
	return count, nil
}
