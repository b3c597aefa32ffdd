// Package persist replaces small files so that a crash, of the process or of the
// machine, leaves the old or the new one.
//
// It does not say who may write a file: writers of one path that use the same
// temporary name must exclude each other. What a crash leaves under a temporary
// name counts for nothing; whoever owns the directory removes it.
package persist

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// Replace makes a file's content b; it is on the disk when Replace returns. Until
// then the bytes lie under a temporary name in the same file system, which is a
// path, or the pattern of one with a "*" for [os.CreateTemp].
func Replace(path, temporary string, b []byte) error {
	f, err := create(temporary)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name()) // if not now, then by the directory's owner
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// create opens the temporary file with mode 0600.
func create(temporary string) (*os.File, error) {
	if dir, name := filepath.Split(temporary); strings.Contains(name, "*") {
		return os.CreateTemp(dir, name)
	}
	return os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

// SyncDir returns when the names in a directory are on the disk.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
