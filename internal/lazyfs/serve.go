//go:build linux

package lazyfs

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/fuse"
	"github.com/shoal-project/shoal/internal/lazyfs/content"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// bytesOf gives package fuse the content of an image.
type bytesOf struct{ *content.Image }

func (b bytesOf) Open(object chunk.Digest, size int64) (fuse.Object, error) {
	h, err := b.Image.Open(object, size)
	if err != nil {
		return nil, never(err)
	}
	return handle{h}, nil
}

type handle struct{ *content.Handle }

func (h handle) Fetch(ctx context.Context, off, n int64) error {
	return never(h.Handle.Fetch(ctx, off, n))
}

// never marks what waiting does not mend.
func never(err error) error {
	if errors.Is(err, content.ErrReplaced) {
		return fmt.Errorf("%w: %w", fuse.ErrNever, err)
	}
	return err
}

// reopenRequest asks for exactly the image that was opened, whatever its tag
// says now, and needs no registry while the cluster remembers it.
func reopenRequest(i *nodeapi.Image) nodeapi.OpenRequest {
	return nodeapi.OpenRequest{Known: i, Depth: i.Depth, Layer: i.Layer}
}

// source says where an image's bytes come from.
func (d *Daemon) source(i *nodeapi.Image) content.Source {
	return content.Source{
		Registry: i.Registry, Repository: i.Repository,
		Reopen: func(ctx context.Context) error {
			_, err := d.peer.Open(ctx, reopenRequest(i), func(nodeapi.Progress) {})
			return err
		},
	}
}

// serve shows an image below the run directory, from what is on the disk. The
// peer may be away: then it is pinned later. d.mu is held.
func (d *Daemon) serve(r *Record) (*image, error) {
	if im := d.images[r.Image.Tree]; im != nil {
		return im, nil
	}
	t, err := mapTree(d.storeDir(), r.Image.Tree, r.Image.TreeSize)
	if err != nil {
		return nil, err
	}
	im := &image{record: r, tree: t, content: d.table.Image(d.source(r.Image), t.devices)}
	if d.restoring {
		// It is pinned since it was first mounted. Readers wait now, so that is made sure later.
	} else if err := d.pin(im); err != nil {
		d.log.Warn("the image's objects are not pinned in the peer's store yet", "image", r.Image.Reference, "error", err)
	}
	if im.served, err = d.fs.Add(r.ID, r.Image.Tree.Hex(), t.Image, bytesOf{im.content}); err != nil {
		im.content.Close()
		return nil, errors.Join(err, t.close())
	}
	d.images[r.Image.Tree] = im
	return im, nil
}

// pin keeps an image's objects in the peer's store. d.mu is held.
func (d *Daemon) pin(im *image) error {
	ctx, cancel := context.WithTimeout(d.ctx, peerPatience)
	defer cancel()
	objects := append(im.content.Objects(), im.record.Image.Tree)
	if err := d.peer.Pin(ctx, pinName(im.record.Image.Tree), objects); err != nil {
		return err
	}
	im.pinned = true
	return nil
}

// drop stops serving an image that is mounted nowhere. d.mu is held.
func (d *Daemon) drop(im *image) error {
	d.endFill(im)
	delete(d.images, im.record.Image.Tree)
	err := errors.Join(d.retire(im.record), d.fs.Remove(im.record.ID))
	im.content.Close()
	err = errors.Join(err, im.tree.close(), d.records.save(im.record))
	d.waiting = append(d.waiting, im.record)
	d.wake()
	return err
}

// wake has the errands run now.
func (d *Daemon) wake() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// beginFill brings the rest of an image, and tells when all of it is here.
func (d *Daemon) beginFill(im *image) {
	if im.filled != nil {
		return
	}
	ctx, cancel := context.WithCancel(d.ctx)
	im.filled = cancel
	known := im.record.Image
	if d.cfg.Fill {
		im.filling.Go(func() {
			_ = im.content.Fill(ctx, func(err error) { // it ends whole, or because ctx ended
				var full *content.RoomError
				if errors.As(err, &full) {
					d.log.Warn("the image is not brought whole", "image", known.Reference, "error", err)
					return
				}
				d.log.Warn("the background fill goes on later", "image", known.Reference, "error", err)
			})
		})
	} else {
		im.filling.Go(func() { im.content.Learn(ctx) })
	}
	im.filling.Go(func() {
		select {
		case <-ctx.Done():
		case <-im.content.Done():
			d.log.Info("the image is complete: it needs no peer, no supernode and no registry any more", "image", known.Reference)
			d.events.tell(EventComplete, known, "", "")
		}
	})
}

// endFill ends it and waits.
func (d *Daemon) endFill(im *image) {
	if im.filled != nil {
		im.filled()
		im.filling.Wait()
	}
}
