//go:build linux

package lazyfs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/persist"
	"github.com/shoal-project/shoal/fuse"
	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// recordVersion is that of the form below.
const recordVersion = 1

// Record is what survives of a mounted image.
type Record struct {
	Version int `json:"version"`
	// ID is part of the inode numbers.
	ID    uint32         `json:"id"`
	Image *nodeapi.Image `json:"image"`
	// Mounts are where it is mounted.
	Mounts []Mount `json:"mounts"`
	// Users are those who hold it to mount it themselves: see [Holdings]. Without
	// mounts and users only the pin is left.
	Users []string `json:"users,omitempty"`
	// Free has the image's bytes removed with the pin.
	Free bool `json:"free,omitempty"`

	// When what waits for the peer is tried next; only the errands' own.
	next  time.Time
	pause time.Duration
}

// Mount is one directory that shows an image.
type Mount struct {
	Reference string `json:"reference"` // as it was asked for
	Target    string `json:"target"`
	// Scratch is the directory of a writable mount; empty for others.
	Scratch string `json:"scratch,omitempty"`
	// Native mounts are the kernel's own, without this daemon.
	Native bool `json:"native,omitempty"`
	// Owners are as whose the files are shown.
	Owners mountpoint.Owners `json:"owners,omitzero"`
}

// wanted tells whether anybody mounted or holds the image.
func (r *Record) wanted() bool { return len(r.Mounts)+len(r.Users) > 0 }

// Writable tells a mount with an overlay.
func (m Mount) Writable() bool { return m.Scratch != "" }

// validate refuses what no daemon wrote: a record tells root what to mount.
func (r *Record) validate(name string) error {
	switch {
	case r.Version != recordVersion:
		return fmt.Errorf("version %d is not %d; it was written by another version of the program", r.Version, recordVersion)
	case r.ID == 0 || r.ID > fuse.MaxImage:
		return fmt.Errorf("image number %d is out of range", r.ID)
	case r.Image == nil || recordName(r.Image.Tree) != name || r.Image.TreeSize <= 0 || r.Image.TreeSize > chunk.MaxObject:
		return errors.New("it does not describe the image that it is named after")
	}
	for _, m := range r.Mounts {
		if !filepath.IsAbs(m.Target) || m.Scratch != "" && !filepath.IsAbs(m.Scratch) {
			return fmt.Errorf("the mount on %q has no absolute paths", m.Target)
		}
		if err := m.Owners.Validate(); err != nil {
			return fmt.Errorf("the mount on %q: %w", m.Target, err)
		}
	}
	return nil
}

// records is the directory of the records.
type records struct{ dir string }

func recordName(tree chunk.Digest) string { return tree.Hex() + ".json" }

// maxRecord bounds a record's file.
const maxRecord = 16 << 20

// load reads all records. One that cannot be used is told of and left alone.
func (r records) load(complain func(path string, err error)) ([]*Record, error) {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of records: %w", err)
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the records: %w", err)
	}
	var all []*Record
	for _, e := range entries {
		path := filepath.Join(r.dir, e.Name())
		if strings.HasSuffix(e.Name(), tempSuffix) {
			_ = os.Remove(path) // was being written when the daemon ended
			continue
		}
		record := &Record{}
		if err := readJSON(path, record); err != nil {
			complain(path, err)
		} else if err := record.validate(e.Name()); err != nil {
			complain(path, err)
		} else {
			all = append(all, record)
		}
	}
	return all, nil
}

// save makes a record durable.
func (r records) save(record *Record) error {
	return writeJSON(filepath.Join(r.dir, recordName(record.Image.Tree)), record)
}

// remove forgets a record.
func (r records) remove(tree chunk.Digest) error {
	if err := os.Remove(filepath.Join(r.dir, recordName(tree))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a record: %w", err)
	}
	return persist.SyncDir(r.dir)
}

const tempSuffix = ".tmp"

func readJSON(path string, into any) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > maxRecord || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file of at most %d bytes", path, maxRecord)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// writeJSON replaces a file: after a crash it is the old or the new one.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := persist.Replace(path, path+tempSuffix, append(text, '\n')); err != nil {
		return fmt.Errorf("writing a record: %w", err)
	}
	return nil
}

// lock keeps a second daemon out of a data directory.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another daemon uses %s; go on in its place with `lazyfs serve --take-over`, stop it, or set data_dir to another directory", dir), f.Close())
	}
	return f, nil
}
