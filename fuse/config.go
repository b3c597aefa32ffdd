//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"time"
)

// Config says how a file system is served. Zero means zero.
type Config struct {
	// Passthrough lets the kernel read complete large objects from the store's
	// file itself: several times the speed of a copy, at no cost to this process.
	// It makes the file system count as one layer more, so that an overlay upon an
	// overlay upon it (containers inside containers) fails with EINVAL; turn it off
	// for those. It needs Linux 6.9 and a store on a file system that is not stacked.
	Passthrough bool
	// PassthroughMin is the smallest file, in bytes, that is opened in passthrough.
	// It costs two system calls an open: too small, and opening slows down; too
	// large, and files that would profit are copied.
	PassthroughMin int64

	// MaxRead is the largest read that the kernel asks for, in bytes. Larger reads
	// cost less each byte; a buffer of this size is held for each read that waits.
	MaxRead int
	// ReadAhead is how far the kernel reads ahead of a sequential reader, in bytes.
	// More hides more delay, and reads more than is wanted of files that are read
	// here and there. The kernel's own value of 128 KiB halves the speed.
	ReadAhead int64
	// AheadMax bounds what is asked of the swarm ahead of a sequential reader, in
	// bytes. The window doubles with every read up to it. It should hold what the
	// network carries in the time that a request takes, many times over.
	AheadMax int64

	// Deadline is how long a read waits for bytes that cannot be had now, before
	// it fails with EIO. Programs take EIO for a broken disk, and a process that
	// maps the file is killed: prefer waiting.
	Deadline time.Duration
	// CacheFor is how long the kernel trusts names, attributes and absent names.
	// An image never changes, so long is right.
	CacheFor time.Duration

	// IDMapped lets images be mounted with mapped user ids (user namespaces), if
	// the kernel can (6.12).
	IDMapped bool
}

// Default is fit for a node that runs containers.
func Default() Config {
	return Config{
		Passthrough:    true,
		PassthroughMin: 1 << 20,
		MaxRead:        512 << 10,
		ReadAhead:      1 << 20,
		AheadMax:       32 << 20,
		Deadline:       5 * time.Minute,
		CacheFor:       24 * time.Hour,
		IDMapped:       true,
	}
}

// Validate reports every problem at once.
func (c Config) Validate() error {
	return errors.Join(
		within("passthrough minimum", c.PassthroughMin, 0, 1<<62),
		within("largest read", int64(c.MaxRead), 4<<10, 1<<20),
		within("read-ahead", c.ReadAhead, 0, 64<<20),
		within("fetch ahead", c.AheadMax, 0, 1<<30),
		within("deadline", int64(c.Deadline), 0, int64(24*time.Hour)),
		within("kernel caching", int64(c.CacheFor), 0, int64(365*24*time.Hour)),
	)
}

func within(what string, v, low, high int64) error {
	if v >= low && v <= high {
		return nil
	}
	return fmt.Errorf("%s: %d is out of range; use %d to %d", what, v, low, high)
}
