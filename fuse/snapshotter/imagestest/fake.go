//go:build linux

// Package imagestest is a twin of the lazy file system for tests of package
// snapshotter: images that are plain directories.
//
// A Fake guarantees what the contract of snapshotter.Images says, durability
// included: what is held lies on the disk, and another Fake of the same directory
// goes on with it. It does not fetch, and a view is complete at once. Hooks let
// tests delay or fail what they want to. All methods may be called at once.
package imagestest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/fuse/snapshotter"
)

// Layer is what a layer adds: files by their path, with their text.
type Layer map[string]string

// Fake is a set of images in a directory. Images are added by every process anew.
type Fake struct {
	dir string
	// OnOpen and OnHold, if set, come first in these methods; an error ends them.
	OnOpen func(ctx context.Context, reference string, tell func(done, total int64)) error
	OnHold func(ctx context.Context, depth int) error

	mu     sync.Mutex
	images map[string]*snapshotter.Image
	layers map[string][]Layer
	opens  []string
}

var _ snapshotter.Images = (*Fake)(nil)

// New makes a Fake on a directory, which may have been another's.
func New(dir string) (*Fake, error) {
	for _, sub := range []string{"held", "views"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("making a fake's directory: %w", err)
		}
	}
	return &Fake{dir: dir, images: map[string]*snapshotter.Image{}, layers: map[string][]Layer{}}, nil
}

// Add has a reference name an image of these layers, the lowest first.
func (f *Fake) Add(reference string, layers ...Layer) *snapshotter.Image {
	image := &snapshotter.Image{Reference: reference, Manifest: digest(layers), Known: []byte(reference)}
	for _, l := range layers {
		image.DiffIDs = append(image.DiffIDs, digest(l))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images[reference], f.layers[reference] = image, layers
	return image
}

func digest(of any) chunk.Digest {
	text, _ := json.Marshal(of) // maps of strings always can be
	return sha256.Sum256(text)
}

// Opens are the references that were asked for, one after another.
func (f *Fake) Opens() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.opens)
}

// Open gives an image that was added.
func (f *Fake) Open(ctx context.Context, reference, _ string, tell func(done, total int64)) (*snapshotter.Image, error) {
	f.mu.Lock()
	f.opens = append(f.opens, reference)
	image := f.images[reference]
	f.mu.Unlock()
	if f.OnOpen != nil {
		if err := f.OnOpen(ctx, reference, tell); err != nil {
			return nil, err
		}
	}
	if image == nil {
		return nil, fmt.Errorf("no image %s", reference)
	}
	return image, nil
}

// held is what lies on the disk of a user.
type held struct {
	Reference string
	Depth     int
	View      string
}

// Hold makes the view and writes down who holds it.
func (f *Fake) Hold(ctx context.Context, user string, image *snapshotter.Image, depth int) error {
	if f.OnHold != nil {
		if err := f.OnHold(ctx, depth); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	layers := f.layers[string(image.Known)]
	if depth < 1 || depth > len(layers) {
		return fmt.Errorf("%s has %d layers, not %d", image.Reference, len(layers), depth)
	}
	view := filepath.Join(f.dir, "views", digest(layers[:depth]).Hex())
	if err := makeView(view, layers[:depth]); err != nil {
		return err
	}
	text, err := json.Marshal(held{image.Reference, depth, view})
	if err != nil {
		return err
	}
	fresh := f.record(user) + ".new"
	return errors.Join(os.WriteFile(fresh, text, 0o600), os.Rename(fresh, f.record(user)))
}

func makeView(view string, layers []Layer) error {
	for _, l := range layers {
		for path, text := range l {
			full := filepath.Join(view, path)
			if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *Fake) record(user string) string {
	return filepath.Join(f.dir, "held", url.QueryEscape(user))
}

func (f *Fake) read(user string) (h held, err error) {
	text, err := os.ReadFile(f.record(user))
	if err != nil {
		return h, fmt.Errorf("nothing is held for %s: %w", user, err)
	}
	return h, json.Unmarshal(text, &h)
}

// Lower is the view's directory.
func (f *Fake) Lower(_ context.Context, user string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, err := f.read(user)
	return h.View, err
}

// Root is 0751 of 12:34, which no other directory here is.
func (f *Fake) Root(user string) (snapshotter.Root, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.read(user)
	return snapshotter.Root{Mode: 0o751, UID: 12, GID: 34}, err
}

// Usage is 1,000 bytes and an inode for each layer that is held.
func (f *Fake) Usage(user string) (bytes, inodes int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, err := f.read(user)
	if errors.Is(err, os.ErrNotExist) {
		return 0, 0, nil
	}
	return 1000 * int64(h.Depth), int64(h.Depth), err
}

// Release forgets what a user holds. The view stays, as it may have others.
func (f *Fake) Release(_ context.Context, user string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := os.Remove(f.record(user)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// Users lists who holds something.
func (f *Fake) Users() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries, err := os.ReadDir(filepath.Join(f.dir, "held"))
	if err != nil {
		return nil
	}
	var users []string
	for _, e := range entries {
		if user, err := url.QueryUnescape(e.Name()); err == nil && filepath.Ext(e.Name()) != ".new" {
			users = append(users, user)
		}
	}
	return users
}
