//go:build !linux

package diskstore

import (
	"os"
)

// Elsewhere than on Linux a store works with what every system has: it does not
// give single chunks back to the disk, sees no free-space floor, and two
// processes are not kept from sharing a directory. Peek sees only what is
// durable.

func syncData(f *os.File) error               { return f.Sync() }
func punch(*os.File, int64, int64) error      { return nil }
func zero(f *os.File, off, n int64) error     { return writeZeros(f, off, n) }
func allocated(os.FileInfo) int64             { return -1 }
func freeBytes(string) (int64, error)         { return -1, nil }
func lockFile(path string) (*os.File, error)  { return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) }
func openPlain(path string) (*os.File, error) { return plainOnly(os.Open(path)) }
func bootID() string                          { return "" }
func noRoom(error) bool                       { return false }
