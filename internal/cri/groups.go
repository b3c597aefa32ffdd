//go:build linux

package cri

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Groups are the directories of control groups whose name begins so, at the top of
// every hierarchy.
func Groups(prefix string) []string {
	flat, _ := filepath.Glob("/sys/fs/cgroup/" + prefix + "*")
	deep, _ := filepath.Glob("/sys/fs/cgroup/*/" + prefix + "*")
	return append(flat, deep...)
}

// RemoveGroups removes the control groups that engines leave by design, with those
// below them. One that is in use stays.
func RemoveGroups(prefix string) {
	for _, root := range Groups(prefix) {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			_ = os.Remove(dir)
		}
	}
}
