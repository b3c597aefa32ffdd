//go:build linux

package lazyfs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/layer/erofs"
)

// tree is an image's tree, mapped from the store's file.
type tree struct {
	*erofs.Image
	devices []erofs.Device
	bytes   []byte
}

// mapTree maps a tree that is whole in the store in dir. All of it is hashed
// first: the kernel will believe what it says.
func mapTree(dir string, d chunk.Digest, size int64) (*tree, error) {
	p, err := diskstore.Peek(dir, d)
	if err != nil {
		return nil, fmt.Errorf("the image's tree: %w", err)
	}
	defer p.Close()
	if p.Size() != size || !p.Have().Full() {
		return nil, fmt.Errorf("the image's tree: %w: %s is not whole in %s", chunk.ErrNotFound, d, dir)
	}
	b, err := unix.Mmap(int(p.File().Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the image's tree: %w", err)
	}
	t := &tree{bytes: b}
	if err := t.open(d); err != nil {
		return nil, errors.Join(fmt.Errorf("the image's tree %s: %w", d, err), t.close())
	}
	return t, nil
}

func (t *tree) open(d chunk.Digest) (err error) {
	if err := t.verify(d); err != nil {
		return err
	}
	if t.Image, err = erofs.Open(t.bytes); err != nil {
		return err
	}
	t.devices = make([]erofs.Device, t.Devices())
	for i := range t.devices {
		if t.devices[i], err = t.Device(i); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) verify(d chunk.Digest) error {
	if sum := sha256.Sum256(t.bytes); !slices.Equal(sum[:], d[:]) {
		return chunk.ErrCorrupt
	}
	return nil
}

// close ends the map; nothing may use the tree any more.
func (t *tree) close() error {
	if err := unix.Munmap(t.bytes); err != nil {
		return fmt.Errorf("unmapping an image's tree: %w", err)
	}
	return nil
}
