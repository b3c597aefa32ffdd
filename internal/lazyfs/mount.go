//go:build linux

package lazyfs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shoal-project/shoal/fuse"
	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// MountRequest asks for an image on a directory.
type MountRequest struct {
	Image    string `json:"image"`
	Platform string `json:"platform,omitempty"`
	// Authorization is the header value for the registry; empty is the peer's own
	// credentials, or none.
	Authorization string `json:"authorization,omitempty"`
	Target        string `json:"target"`
	// Writable puts an overlay on the image; Scratch is the directory in which its
	// changes are kept until it is unmounted, empty for the daemon's own.
	Writable bool   `json:"writable,omitempty"`
	Scratch  string `json:"scratch,omitempty"`
	// Native has the kernel serve the image, without this daemon.
	Native bool `json:"native,omitempty"`
	// Owners are as whose the files are shown.
	Owners mountpoint.Owners `json:"owners,omitzero"`
}

func (r MountRequest) validate() error {
	switch {
	case r.Image == "":
		return errors.New("name an image")
	case r.Scratch != "" && !r.Writable:
		return errors.New("a scratch directory is for writable mounts only; add --rw")
	case r.Scratch != "" && !filepath.IsAbs(r.Scratch):
		return fmt.Errorf("the scratch directory %q is not an absolute path", r.Scratch)
	}
	return r.Owners.Validate()
}

// Mount mounts an image. tell hears how far it is.
func (d *Daemon) Mount(ctx context.Context, r MountRequest, tell func(nodeapi.Progress)) (*Mount, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	target, err := mountpoint.Check(r.Target)
	if err != nil {
		return nil, err
	}
	opened, err := d.open(ctx, r, tell)
	if err != nil {
		return nil, err
	}
	m := Mount{Reference: r.Image, Target: target, Native: r.Native, Owners: r.Owners}
	if r.Writable {
		m.Scratch = filepath.Join(d.scratchDir(), newName())
		if r.Scratch != "" {
			m.Scratch = filepath.Join(r.Scratch, "lazyfs-"+newName())
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := mountpoint.Check(target); err != nil { // somebody else may have taken it
		return nil, err
	}
	return &m, d.mount(ctx, opened, m)
}

// newName is a name that nothing has.
func newName() string { return strings.ToLower(rand.Text()[:16]) }

// open has the peer bring the image's tree. An image that is mounted already
// needs no peer.
func (d *Daemon) open(ctx context.Context, r MountRequest, tell func(nodeapi.Progress)) (*nodeapi.Image, error) {
	opened, err := d.peer.Open(ctx, nodeapi.OpenRequest{Image: r.Image, Platform: r.Platform, Authorization: r.Authorization}, tell)
	if err == nil {
		return opened, d.learnStore(ctx)
	}
	if !errors.Is(err, nodeapi.ErrAway) {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, im := range d.images {
		known := im.record.Image
		if SameReference(known.Reference, r.Image) && (r.Platform == "" || r.Platform == known.Platform) {
			return known, nil
		}
	}
	return nil, err
}

// mount records a mount and makes it. d.mu is held.
func (d *Daemon) mount(ctx context.Context, opened *nodeapi.Image, m Mount) error {
	im, err := d.imageOf(opened)
	if err != nil {
		return err
	}
	if m.Native {
		if err := d.mustGraduate(ctx, im); err != nil {
			return errors.Join(err, d.dropUnused(im))
		}
	} else {
		_, m.Native = d.root(im)
	}
	im.record.Mounts, im.record.Free = append(im.record.Mounts, m), false
	err = d.records.save(im.record)
	if err == nil {
		err = d.attach(im, m)
	}
	if err != nil {
		return errors.Join(err, d.unrecord(im, m))
	}
	d.log.Info("mounted", "image", m.Reference, "tree", opened.Tree.String(), "target", m.Target)
	d.events.tell(EventMounted, im.record.Image, m.Reference, m.Target)
	d.beginFill(im)
	return nil
}

// imageOf is the image of a tree, served and pinned. d.mu is held.
func (d *Daemon) imageOf(opened *nodeapi.Image) (*image, error) {
	if im := d.images[opened.Tree]; im != nil {
		im.record.Image = opened
		im.content.SetSource(d.source(opened))
		return im, nil
	}
	for _, r := range d.waiting {
		if r.Image.Tree == opened.Tree { // it was mounted before
			r.Image = opened
			if err := d.restoreImage(r); err != nil {
				return nil, err
			}
			d.forget(r)
			return d.images[opened.Tree], nil
		}
	}
	return d.serve(&Record{Version: recordVersion, ID: d.newID(), Image: opened})
}

// newID is a number that no image has. d.mu is held.
func (d *Daemon) newID() uint32 {
	used := map[uint32]bool{}
	for _, r := range d.recordsLocked() {
		used[r.ID] = true
	}
	for {
		if d.lastID++; d.lastID > fuse.MaxImage {
			d.lastID = 1
		}
		if !used[d.lastID] {
			return d.lastID
		}
	}
}

// attach makes a recorded mount. d.mu is held.
func (d *Daemon) attach(im *image, m Mount) error {
	var source string
	if m.Native {
		if err := d.mustGraduate(d.ctx, im); err != nil {
			return err
		}
		source = d.nativeDir(im.record)
	} else {
		source = d.lazyDir(im)
	}
	if !m.Writable() {
		return mountpoint.Bind(source, m.Target, m.Owners)
	}
	scratch := mountpoint.Scratch(m.Scratch)
	if err := scratch.Make(im.tree.Image, m.Owners); err != nil {
		return err
	}
	return d.withOwners(source, m.Owners, func(lower string) error {
		return mountpoint.Overlay(lower, scratch.Upper(), scratch.Work(), m.Target)
	})
}

// unrecord forgets a mount, with its scratch directory, and the image if that
// was its last. d.mu is held.
func (d *Daemon) unrecord(im *image, m Mount) error {
	im.record.Mounts = slices.DeleteFunc(slices.Clone(im.record.Mounts), func(other Mount) bool { return other == m })
	var err error
	if m.Writable() {
		err = mountpoint.Scratch(m.Scratch).Remove()
	}
	if !im.record.wanted() {
		return errors.Join(err, d.drop(im))
	}
	return errors.Join(err, d.records.save(im.record))
}

func (d *Daemon) dropUnused(im *image) error {
	if !im.record.wanted() {
		return d.drop(im)
	}
	return nil
}

// Unmount takes a mount away, and what its writable view had changed with it.
// detach does so although it is in use.
func (d *Daemon) Unmount(target string, detach bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	target = filepath.Clean(target)
	resolved, err := filepath.EvalSymlinks(target)
	if err != nil { // a mount that does not answer
		resolved = target
	}
	for _, im := range d.images {
		for _, m := range im.record.Mounts {
			if m.Target == resolved || m.Target == target {
				return d.unmount(im, m, detach)
			}
		}
	}
	for _, r := range d.waiting {
		for i, m := range r.Mounts {
			if m.Target == resolved || m.Target == target {
				r.Mounts = slices.Delete(slices.Clone(r.Mounts), i, i+1)
				return errors.Join(d.records.save(r), d.clear(m, detach))
			}
		}
	}
	return fmt.Errorf("no image is mounted on %s; `lazyfs ls` lists what is", target)
}

// clear takes away what there is of a mount whose image is not served: a native
// one, and what a writable one had changed.
func (d *Daemon) clear(m Mount, detach bool) error {
	var err error
	if m.Native {
		err = mountpoint.Unmount(m.Target, detach)
	}
	if m.Writable() {
		err = errors.Join(err, mountpoint.Scratch(m.Scratch).Remove())
	}
	return err
}

// unmount is Unmount of a known mount. d.mu is held.
func (d *Daemon) unmount(im *image, m Mount, detach bool) error {
	if err := mountpoint.Unmount(m.Target, detach); err != nil {
		if errors.Is(err, mountpoint.ErrBusy) {
			err = fmt.Errorf("%w; end what uses it, or unmount with --detach", err)
		}
		return err
	}
	d.log.Info("unmounted", "image", m.Reference, "target", m.Target)
	d.events.tell(EventUnmounted, im.record.Image, m.Reference, m.Target)
	return d.unrecord(im, m)
}
