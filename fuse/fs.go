//go:build linux

package fuse

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/layer/erofs"
)

// FS is a file system of images. Its methods are safe for concurrent use.
type FS struct {
	cfg      Config
	log      *slog.Logger
	metrics  *Metrics
	bytes    byteCounters
	conn     connection
	handles  handles
	backings backings

	mu      sync.Mutex                        // held to change images; never by requests
	images  atomic.Pointer[map[uint32]*Image] // never changed in place
	changed atomic.Int64                      // when images changed, Unix nanoseconds

	expected atomic.Pointer[expected] // never changed in place; f.mu to change it
}

// New makes a file system without images. A nil m counts for nobody.
func New(cfg Config, log *slog.Logger, m *Metrics) (*FS, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("file system settings: %w", err)
	}
	if m == nil {
		m = NewMetrics(prometheus.NewRegistry())
	}
	f := &FS{cfg: cfg, log: log, metrics: m, bytes: newByteCounters(m)}
	f.handles.init()
	if err := f.backings.init(); err != nil {
		return nil, err
	}
	f.setImages(map[uint32]*Image{})
	f.expected.Store(&expected{})
	return f, nil
}

// Add shows a tree as directory name of the file system's root. The id, from 1
// to [MaxImage], is part of every inode number; the same id and name must always
// mean the same tree, also across restarts. The tree's bytes must stay mapped
// until [FS.Remove] returned.
func (f *FS) Add(id uint32, name string, tree *erofs.Image, c Content) (*Image, error) {
	if id == 0 || id > MaxImage {
		return nil, fmt.Errorf("add image %q: id %d is out of range; use 1 to %d", name, id, MaxImage)
	}
	if !validName(name) || strings.HasSuffix(name, objectsSuffix) {
		return nil, fmt.Errorf("add image %d: %.80q cannot name a directory", id, name)
	}
	im, err := f.insert(id, name, tree, c)
	if err != nil {
		return nil, fmt.Errorf("add image %d %q: %w", id, name, err)
	}
	f.conn.rootChanged("")
	return im, nil
}

func (f *FS) insert(id uint32, name string, tree *erofs.Image, c Content) (*Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, other := range *f.images.Load() {
		if other.id == id || other.name == name {
			return nil, fmt.Errorf("image %d %q is there already", other.id, other.name)
		}
	}
	im, err := newImage(f, id, name, tree, c)
	if err != nil {
		return nil, err
	}
	next := maps.Clone(*f.images.Load())
	next[id] = im
	f.setImages(next)
	f.arrived(id)
	return im, nil
}

// Remove takes an image away. Reads that wait fail with ESTALE; what the kernel
// knows of the image is dropped; files that are still open fail from then on,
// except for what is in the page cache or open in passthrough. When it returns,
// the image's tree and objects are no longer used.
func (f *FS) Remove(id uint32) error {
	im, err := f.take(id)
	if im != nil {
		f.conn.rootChanged(im.name)
	}
	if err != nil {
		return fmt.Errorf("remove image %d: %w", id, err)
	}
	return nil
}

// take ends an image. The id is free only after that, so that nothing of it is
// mistaken for a later image's. Requests do not take f.mu, so it can wait for them.
func (f *FS) take(id uint32) (*Image, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	im := f.image(id)
	if im == nil {
		return nil, errors.New("there is no such image")
	}
	err := im.close()
	next := maps.Clone(*f.images.Load())
	delete(next, id)
	f.setImages(next)
	return im, err
}

// Images lists the images by id.
func (f *FS) Images() []*Image {
	all := slices.Collect(maps.Values(*f.images.Load()))
	slices.SortFunc(all, func(a, b *Image) int { return int(a.id) - int(b.id) })
	return all
}

func (f *FS) image(id uint32) *Image { return (*f.images.Load())[id] }

func (f *FS) named(name string) *Image {
	for _, im := range *f.images.Load() {
		if im.name == name {
			return im
		}
	}
	return nil
}

func (f *FS) setImages(m map[uint32]*Image) {
	f.images.Store(&m)
	f.changed.Store(time.Now().UnixNano())
	f.metrics.Images.Set(float64(len(m)))
}

// removeAll is the end of the file system.
func (f *FS) removeAll() error {
	var errs []error
	for id := range *f.expected.Load() {
		f.Unexpect(id)
	}
	for _, im := range f.Images() {
		errs = append(errs, f.Remove(im.id))
	}
	return errors.Join(errs...)
}

func validName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= erofs.MaxName &&
		!strings.ContainsAny(name, "/\x00")
}
