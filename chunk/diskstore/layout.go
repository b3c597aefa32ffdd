package diskstore

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/persist"
)

const (
	haveSuffix = ".have"
	sealSuffix = ".seal"
	tempSuffix = ".tmp"
	pinSuffix  = ".pin"
	lockName   = "lock"
	pinsName   = "pins"
	bootName   = "boot"
)

func fanDir(dir string, first byte) string {
	return filepath.Join(dir, hex.EncodeToString([]byte{first}))
}

// Path is where the store in dir keeps d's bytes; its side files have that path
// and a suffix.
func Path(dir string, d chunk.Digest) string {
	return filepath.Join(fanDir(dir, d[0]), d.Hex())
}

func parentDir(path string) string { return filepath.Dir(path) }

// parseName reads the name of an object's file in the fan-out directory of
// first: its digest and the suffix.
func parseName(name string, first byte) (chunk.Digest, string, bool) {
	digits, suffix := name, ""
	if at := strings.IndexByte(name, '.'); at >= 0 {
		digits, suffix = name[:at], name[at:]
	}
	d, err := chunk.ParseDigest("sha256:" + digits)
	known := suffix == "" || suffix == haveSuffix || suffix == sealSuffix
	return d, suffix, err == nil && known && d[0] == first
}

// parseFan reads the name of a fan-out directory.
func parseFan(name string) (byte, bool) {
	b, err := hex.DecodeString(name)
	return append(b, 0)[0], err == nil && len(b) == 1 && name == hex.EncodeToString(b)
}

// createIn opens a file anew, making its directory if it is the first there.
func createIn(path string) (*os.File, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_TRUNC
	var f *os.File
	err := inFan(path, func() (err error) {
		f, err = os.OpenFile(path, flags, 0o600)
		return err
	})
	return f, err
}

// inFan does what makes the file at path, and its directory if that was missing.
func inFan(path string, do func() error) error {
	err := do()
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Mkdir(parentDir(path), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return do()
}

// plainOnly is a file that was just opened, if it is a plain one.
func plainOnly(f *os.File, err error) (*os.File, error) {
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a plain file", errDamaged, f.Name())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// syncNames makes the names of an object's files durable.
func syncNames(path string) error {
	return errors.Join(persist.SyncDir(parentDir(path)), persist.SyncDir(parentDir(parentDir(path))))
}
