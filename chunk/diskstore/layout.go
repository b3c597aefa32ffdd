package diskstore

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/shoal-project/shoal/chunk"
)

const (
	haveSuffix = ".have"
	sealSuffix = ".seal"
	tempSuffix = ".tmp"
	lockName   = "lock"
)

func fanDir(dir string, first byte) string {
	return filepath.Join(dir, hex.EncodeToString([]byte{first}))
}

// dataPath is where d's bytes lie; its side files have that path and a suffix.
func dataPath(dir string, d chunk.Digest) string {
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
	f, err := os.OpenFile(path, flags, 0o600)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	if err := os.Mkdir(parentDir(path), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	return os.OpenFile(path, flags, 0o600)
}

// syncNames makes the names of an object's files durable.
func syncNames(path string) error {
	return errors.Join(syncDir(parentDir(path)), syncDir(parentDir(parentDir(path))))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
