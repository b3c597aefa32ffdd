package diskstore

import (
	"encoding/hex"
	"fmt"
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
	fanOut     = 256
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

// makeDirs makes the store's directories, durably, where they are missing.
func makeDirs(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the store's directory: %w", err)
	}
	made := false
	for first := range fanOut {
		err := os.Mkdir(fanDir(dir, byte(first)), 0o700)
		if err != nil && !os.IsExist(err) {
			return fmt.Errorf("make the store's directories: %w", err)
		}
		made = made || err == nil
	}
	if !made {
		return nil
	}
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("make the store's directories: %w", err)
	}
	return nil
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
