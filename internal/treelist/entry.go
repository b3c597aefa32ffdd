package treelist

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
)

// Name is a path, target or value: any bytes. Its text form is quoted ASCII.
type Name string

// MarshalText quotes the name.
func (n Name) MarshalText() ([]byte, error) { return []byte(strconv.QuoteToASCII(string(n))), nil }

// UnmarshalText reads what MarshalText wrote.
func (n *Name) UnmarshalText(text []byte) error {
	s, err := strconv.Unquote(string(text))
	if err != nil {
		return fmt.Errorf("read a quoted name %.80q: %w", text, err)
	}
	*n = Name(s)
	return nil
}

// Xattrs are extended attributes by name.
type Xattrs map[Name]Name

// MarshalJSON quotes the names too; encoding/json takes a key that is a string
// as it is.
func (x Xattrs) MarshalJSON() ([]byte, error) {
	quoted := make(map[string]Name, len(x))
	for name, value := range x {
		quoted[strconv.QuoteToASCII(string(name))] = value
	}
	return json.Marshal(quoted)
}

// Sum is the SHA-256 of a regular file's bytes; zero for all else, and if
// contents were not read.
type Sum [32]byte

// MarshalText gives hexadecimal digits.
func (s Sum) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(s[:])), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Sum) UnmarshalText(text []byte) error {
	if len(text) != 2*len(s) {
		return fmt.Errorf("a sum of %d digits", len(text))
	}
	_, err := hex.Decode(s[:], text)
	return err
}

// Entry is one name of a tree.
type Entry struct {
	Path     Name   // relative to the root, which is "."
	Mode     uint32 // st_mode: type and permission bits
	UID, GID uint32 //
	Nlink    uint64 //
	Size     int64  // zero for directories
	Sec      int64  // modification time
	Nsec     int64  //
	Rdev     uint64 `json:",omitempty"` // of devices
	Target   Name   `json:",omitempty"` // of symbolic links
	First    Name   `json:",omitempty"` // the first path of the same inode, if that is another
	Xattrs   Xattrs `json:",omitempty"`
	Sum      Sum
}

// The type bits of Mode.
const (
	typeBits = 0o170000
	typeDir  = 0o040000
	typeFile = 0o100000
	typeLink = 0o120000
)

// IsDir tells a directory.
func (e Entry) IsDir() bool { return e.Mode&typeBits == typeDir }

// kind names the type as ls does.
func (e Entry) kind() string {
	switch e.Mode & typeBits {
	case typeDir:
		return "directory"
	case typeFile:
		return "file"
	case typeLink:
		return "symbolic link"
	case 0o020000:
		return "character device"
	case 0o060000:
		return "block device"
	case 0o010000:
		return "fifo"
	}
	return fs.FileMode(e.Mode).String()
}
