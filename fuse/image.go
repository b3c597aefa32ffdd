//go:build linux

package fuse

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-project/shoal/layer/erofs"
)

// Image is an image in the file system.
type Image struct {
	fs         *FS
	id         uint32
	name       string
	root       uint64 // node id
	generation uint64 // so that the kernel tells a later image of the same id apart
	tree       *erofs.Image
	slots      []slot // an object for each device of the tree
	bytes      uint64 // of all objects

	// users is held shared by requests, and alone to end the image.
	users   sync.RWMutex
	gone    bool
	ctx     context.Context // of all work for the image; ends with it
	cancel  context.CancelFunc
	fetches sync.WaitGroup

	opens, reads, served, errors atomic.Int64
	logged                       atomic.Int64 // when fail logged last, Unix nanoseconds
	waits                        waitList
}

func newImage(f *FS, id uint32, name string, tree *erofs.Image, c Content) (*Image, error) {
	im := &Image{fs: f, id: id, name: name, tree: tree, slots: make([]slot, tree.Devices())}
	h := fnv.New64a()
	h.Write([]byte(name))
	im.generation = h.Sum64()
	im.ctx, im.cancel = context.WithCancel(context.Background())
	for i := range im.slots {
		d, err := tree.Device(i)
		if err != nil {
			return nil, err
		}
		im.slots[i].init(im, c, d)
		im.bytes += uint64(max(d.Size, 0))
	}
	var err error
	if im.root, err = im.node(tree.Root()); err != nil {
		return nil, err
	}
	n, err := tree.Inode(tree.Root())
	if err == nil && !n.IsDir() {
		err = fmt.Errorf("%w: the root is no directory", erofs.ErrCorrupt)
	}
	return im, err
}

// hold keeps the image from ending until release; false if it has ended.
func (im *Image) hold() bool {
	im.users.RLock()
	if im.gone {
		im.users.RUnlock()
		return false
	}
	return true
}

func (im *Image) release() { im.users.RUnlock() }

// close ends waits, waits for requests, and closes the objects.
func (im *Image) close() error {
	im.cancel()
	im.users.Lock()
	im.gone = true
	im.users.Unlock()
	im.fetches.Wait()
	var errs []error
	for i := range im.slots {
		errs = append(errs, im.slots[i].close())
	}
	return errors.Join(errs...)
}

// fail counts an error that a process gets to see, and logs it; of many, one a
// second.
func (im *Image) fail(reason string, err error) {
	im.errors.Add(1)
	im.fs.metrics.Errors.WithLabelValues(reason).Inc()
	now, last := time.Now().UnixNano(), im.logged.Load()
	if now-last < int64(time.Second) || !im.logged.CompareAndSwap(last, now) {
		return
	}
	im.fs.log.Warn("a request failed with an I/O error", "image", im.name, "reason", reason, "error", err)
}

// Name is the image's directory below the root of the file system.
func (im *Image) Name() string { return im.name }

// ID is the image's number.
func (im *Image) ID() uint32 { return im.id }
