package testimage

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path"
	"time"
)

// epoch is the time of every entry and image: builds must not depend on the clock.
var epoch = time.Unix(1_700_000_000, 0).UTC()

// Entry is one member of a layer's tar stream.
type Entry struct {
	Header tar.Header
	// Open gives a regular file's Header.Size bytes, the same ones each time. Nil
	// for an empty file and for what is not a file.
	Open func() (io.ReadCloser, error)
}

// File is a regular file that holds content.
func File(name string, mode int64, content []byte) Entry {
	e := Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}}
	e.Open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	return e
}

// DiskFile is a regular file that holds what the file at source holds.
func DiskFile(name, source string, info os.FileInfo) Entry {
	e := Entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size()}}
	e.Open = func() (io.ReadCloser, error) { return os.Open(source) }
	return e
}

// Dir is a directory.
func Dir(name string, mode int64) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}}
}

// Symlink is a symbolic link to target.
func Symlink(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

// HardLink is another name of target, an earlier entry of the same layer.
func HardLink(name, target string) Entry {
	return Entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644}}
}

// Whiteout removes a name of the layers below.
func Whiteout(name string) Entry {
	return File(path.Join(path.Dir(name), ".wh."+path.Base(name)), 0o600, nil)
}

// Opaque hides what the layers below have in a directory.
func Opaque(dir string) Entry { return File(path.Join(dir, ".wh..wh..opq"), 0o600, nil) }

// WithXattr gives the entry an extended attribute.
func (e Entry) WithXattr(name, value string) Entry {
	records := map[string]string{"SCHILY.xattr." + name: value}
	for k, v := range e.Header.PAXRecords {
		records[k] = v
	}
	e.Header.PAXRecords = records
	return e
}
