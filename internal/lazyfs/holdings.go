//go:build linux

package lazyfs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// Holdings are the images that are kept for users who mount them themselves,
// such as the snapshotter. A user is any name; it holds one image at a time.
type Holdings struct{ d *Daemon }

var _ snapshotter.Images = Holdings{}

// Holdings gives the daemon's.
func (d *Daemon) Holdings() Holdings { return Holdings{d} }

// Open has an image's tree brought to this node. If the peer is away, an image
// that is known here is as good.
func (h Holdings) Open(ctx context.Context, reference, platform string, tell func(done, total int64)) (*snapshotter.Image, error) {
	opened, err := h.d.open(ctx, MountRequest{Image: reference, Platform: platform}, func(p nodeapi.Progress) { tell(p.Done, p.Total) })
	if err != nil {
		return nil, err
	}
	known, err := json.Marshal(opened)
	if err != nil {
		return nil, err
	}
	return &snapshotter.Image{Reference: reference, Manifest: opened.Manifest, DiffIDs: opened.DiffIDs, Known: known}, nil
}

// Hold keeps the view of the first depth layers of an image for a user.
func (h Holdings) Hold(ctx context.Context, user string, image *snapshotter.Image, depth int) error {
	var known nodeapi.Image
	if err := json.Unmarshal(image.Known, &known); err != nil {
		return fmt.Errorf("what is known of %s cannot be read: %w", image.Reference, err)
	}
	if depth < 1 || depth > len(known.DiffIDs) {
		return fmt.Errorf("%s has %d layers, not %d", image.Reference, len(known.DiffIDs), depth)
	}
	view, err := h.d.viewOf(ctx, &known, depth)
	if err != nil {
		return fmt.Errorf("the first %d layers of %s: %w", depth, image.Reference, err)
	}
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	return h.d.hold(user, view)
}

// viewOf is the image that shows the first depth layers of another, and nothing
// more: that one itself, one that is served here already, or a new one, for which
// the peer needs no registry.
func (d *Daemon) viewOf(ctx context.Context, known *nodeapi.Image, depth int) (*nodeapi.Image, error) {
	if layersShown(known) == depth {
		return known, nil
	}
	if found := d.servedView(known.DiffIDs[:depth]); found != nil {
		return found, nil
	}
	opened, err := d.peer.Open(ctx, nodeapi.OpenRequest{Known: known, Depth: depth}, func(nodeapi.Progress) {})
	if err != nil {
		return nil, err
	}
	return opened, d.learnStore(ctx)
}

// layersShown is how many of an image's layers its tree shows.
func layersShown(i *nodeapi.Image) int {
	if i.Depth > 0 {
		return i.Depth
	}
	return len(i.DiffIDs)
}

func (d *Daemon) servedView(diffIDs []chunk.Digest) *nodeapi.Image {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.recordsLocked() {
		i := r.Image
		if i.Layer == nil && slices.Equal(i.DiffIDs[:min(layersShown(i), len(i.DiffIDs))], diffIDs) {
			return i
		}
	}
	return nil
}

// recordsLocked are all records, served or waiting. d.mu is held.
func (d *Daemon) recordsLocked() []*Record {
	all := slices.Clone(d.waiting)
	for _, im := range d.images {
		all = append(all, im.record)
	}
	return all
}

// hold records that a user holds an image, and serves it. d.mu is held.
func (d *Daemon) hold(user string, opened *nodeapi.Image) error {
	im, err := d.imageOf(opened)
	if err != nil {
		return err
	}
	if slices.Contains(im.record.Users, user) {
		return nil
	}
	before, _ := d.heldBy(user)
	im.record.Users = append(im.record.Users, user)
	im.record.Free = false
	if err := d.records.save(im.record); err != nil {
		im.record.Users = without(im.record.Users, user)
		return errors.Join(err, d.dropUnused(im))
	}
	d.beginFill(im)
	if before != nil {
		return d.letGo(before, user)
	}
	return nil
}

// heldBy is the record that a user holds, and its image if that is served; nil is
// none. d.mu is held.
func (d *Daemon) heldBy(user string) (*Record, *image) {
	for _, im := range d.images {
		if slices.Contains(im.record.Users, user) {
			return im.record, im
		}
	}
	for _, r := range d.waiting {
		if slices.Contains(r.Users, user) {
			return r, nil
		}
	}
	return nil, nil
}

// Lower is a directory that shows what the user holds.
func (h Holdings) Lower(_ context.Context, user string) (string, error) {
	d := h.d
	d.mu.Lock()
	defer d.mu.Unlock()
	switch r, im := d.heldBy(user); {
	case im != nil:
		dir, _ := d.root(im)
		return dir, nil
	case r != nil:
		return "", fmt.Errorf("%s cannot be shown yet: its tree is not on this node's disk, and the peer was asked for it; try again", r.Image.Reference)
	}
	return "", fmt.Errorf("nothing is held for %s", user)
}

// Root is what the root directory of a user's view is like.
func (h Holdings) Root(user string) (snapshotter.Root, error) {
	d := h.d
	d.mu.Lock()
	defer d.mu.Unlock()
	_, im := d.heldBy(user)
	if im == nil {
		return snapshotter.Root{}, fmt.Errorf("nothing is held for %s", user)
	}
	root, err := im.tree.Inode(im.tree.Root())
	if err != nil {
		return snapshotter.Root{}, fmt.Errorf("reading the image's root: %w", err)
	}
	return snapshotter.Root{Mode: root.Mode & 0o7777, UID: root.UID, GID: root.GID}, nil
}

// Usage is what a user's view takes on this node's disk.
func (h Holdings) Usage(user string) (bytes, inodes int64, err error) {
	d := h.d
	d.mu.Lock()
	defer d.mu.Unlock()
	_, im := d.heldBy(user)
	if im == nil || im.record.Users[0] != user { // it counts for its first user
		return 0, 0, nil
	}
	bytes, inodes = im.content.Usage()
	return bytes + im.record.Image.TreeSize, inodes + 1, nil
}

// Release ends Hold.
func (h Holdings) Release(_ context.Context, user string) error {
	d := h.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if r, _ := d.heldBy(user); r != nil {
		return d.letGo(r, user)
	}
	return nil
}

// letGo takes a user off a record; an image that nobody wants any more goes, with
// its bytes. d.mu is held.
func (d *Daemon) letGo(r *Record, user string) error {
	r.Users = without(r.Users, user)
	r.Free = !r.wanted()
	if im := d.images[r.Image.Tree]; im != nil && im.record == r {
		if r.Free {
			return d.drop(im)
		}
		return d.records.save(r)
	}
	d.wake()
	return d.records.save(r)
}

func without(users []string, user string) []string {
	return slices.DeleteFunc(slices.Clone(users), func(other string) bool { return other == user })
}

// Users lists who holds something.
func (h Holdings) Users() []string {
	h.d.mu.Lock()
	defer h.d.mu.Unlock()
	var all []string
	for _, r := range h.d.recordsLocked() {
		all = append(all, r.Users...)
	}
	slices.Sort(all)
	return all
}
