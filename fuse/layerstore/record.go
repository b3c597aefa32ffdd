//go:build linux

package layerstore

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/persist"
)

// name is what a layer is looked up by.
type name struct {
	Reference string       `json:"reference"`
	Digest    chunk.Digest `json:"digest"`
}

// id names the layer's record and its holding.
func (n name) id() string {
	sum := sha256.Sum256([]byte(n.Reference + "\x00" + n.Digest.String()))
	return hex.EncodeToString(sum[:])
}

// record is what survives of a layer that was found.
type record struct {
	Version int    `json:"version"`
	Name    name   `json:"name"`
	Layer   *Layer `json:"layer"`
	Plain   int64  `json:"plain"` // bytes in the layer's tar stream
	// Uses are counted as containers/storage says them.
	Uses int `json:"uses"`
	// Storages are the directories of the storages that said so. Processes are those
	// of which that is not known yet, and Strange is set once it never will be.
	Storages  []string  `json:"storages,omitempty"`
	Processes []process `json:"processes,omitempty"`
	Strange   bool      `json:"strange,omitempty"`
}

const (
	recordVersion = 1
	recordSuffix  = ".json"
	// maxRecord bounds a record's file; an image has at most 1,024 layers.
	maxRecord = 1 << 20
	maxUses   = 1 << 20
)

func (r *record) validate(file string) error {
	switch {
	case r.Version != recordVersion:
		return fmt.Errorf("version %d is not %d; it was written by another version of the program", r.Version, recordVersion)
	case r.Layer == nil || r.Name.id()+recordSuffix != file || r.Uses < 0 || r.Uses > maxUses || r.Plain < 0 || r.Layer.Size < 0:
		return errors.New("it does not describe the layer that it is named after")
	}
	for _, dir := range r.Storages {
		if !filepath.IsAbs(dir) {
			return fmt.Errorf("the storage %q is not an absolute path", dir)
		}
	}
	return nil
}

// records is the directory of the records.
type records struct{ dir string }

func (d records) path(n name) string { return filepath.Join(d.dir, n.id()+recordSuffix) }

// load reads all. One that cannot be used is told of and left alone.
func (d records) load(complain func(path string, err error)) ([]*record, error) {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of layers: %w", err)
	}
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("reading the layers' records: %w", err)
	}
	var all []*record
	for _, e := range entries {
		path := filepath.Join(d.dir, e.Name())
		if !strings.HasSuffix(e.Name(), recordSuffix) {
			_ = os.Remove(path) // was being written when the daemon ended
			continue
		}
		r, err := readRecord(path)
		if err != nil {
			complain(path, err)
			continue
		}
		all = append(all, r)
	}
	return all, nil
}

func readRecord(path string) (*record, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxRecord || !st.Mode().IsRegular() {
		return nil, fmt.Errorf("it is not a file of at most %d bytes", maxRecord)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseRecord(text, filepath.Base(path))
}

func parseRecord(text []byte, file string) (*record, error) {
	r := &record{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, err
	}
	return r, r.validate(file)
}

// save replaces a record: after a crash it is the old or the new one.
func (d records) save(r *record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := persist.Replace(d.path(r.Name), filepath.Join(d.dir, "new-*"), append(text, '\n')); err != nil {
		return fmt.Errorf("writing a layer's record: %w", err)
	}
	return nil
}

func (d records) remove(n name) error {
	if err := os.Remove(d.path(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing a layer's record: %w", err)
	}
	return persist.SyncDir(d.dir)
}
