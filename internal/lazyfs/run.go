//go:build linux

package lazyfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// Close ends a daemon that was not started.
func (d *Daemon) Close() error {
	d.stop()
	d.mounter.Close()
	d.table.Close()
	return d.locked.Close()
}

// Start goes on with the mounts of an earlier daemon, or clears what it left and
// mounts all anew. Fills end with ctx. After it Stop must follow, or Close if it
// failed.
func (d *Daemon) Start(ctx context.Context) error {
	if err := mountpoint.Privileged(); err != nil {
		return err
	}
	recorded, err := d.records.load(func(path string, err error) {
		d.log.Error("a record of a mounted image cannot be used; remove the file if it is not needed", "file", path, "error", err)
	})
	if err != nil {
		return err
	}
	if d.cfg.KernelTree {
		if err := d.mounter.Start(); err != nil {
			d.log.Warn("images are mounted more slowly than they could be", "error", err)
		}
	}
	if d.tookOver = d.resume(recorded); !d.tookOver {
		if err := d.mountAnew(recorded); err != nil {
			return err
		}
	}
	d.serving.Go(func() {
		if err := d.fs.Serve(); err != nil {
			d.log.Error("the file system ended", "error", err)
		}
	})
	d.tasks.Go(d.watch)
	context.AfterFunc(ctx, d.stop) // fills and streams of news end at once
	d.restore(ctx, recorded)
	d.tasks.Go(d.runErrands)
	return nil
}

// mountAnew mounts the file system after what was there is cleared.
func (d *Daemon) mountAnew(recorded []*Record) error {
	if err := errors.Join(d.session.forget(), d.clearStale(recorded)); err != nil {
		return err
	}
	if err := os.MkdirAll(d.mountDir(), 0o755); err != nil {
		return fmt.Errorf("making %s: %w; set run_dir to another directory", d.mountDir(), err)
	}
	if err := d.fs.MountKept(d.mountDir(), d.session.opens()); err != nil {
		return err
	}
	if err := d.session.keep(d.fs); err != nil {
		d.log.Warn("mounts will end with this daemon", "error", err)
	}
	return nil
}

// restore mounts what is recorded, from the disk alone; what that lacks waits
// for the peer.
func (d *Daemon) restore(ctx context.Context, recorded []*Record) {
	if d.tookOver && d.storeDir() != "" {
		d.wake() // readers wait: what the peer has to say comes later
	} else {
		d.askStore(ctx)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.restoring = d.tookOver
	defer func() { d.restoring = false }()
	d.retireUnknown(recorded)
	for _, r := range recorded {
		d.lastID = max(d.lastID, r.ID)
		if !r.wanted() || d.restoreImage(r) != nil {
			d.waiting = append(d.waiting, r)
		}
	}
}

// askStore asks the peer where its store is; if it is away, it is where it was.
func (d *Daemon) askStore(ctx context.Context) {
	short, cancel := context.WithTimeout(ctx, errandEvery)
	defer cancel()
	if err := d.learnStore(short); err != nil {
		d.log.Warn("the peer does not say where its store is; serving what is on the disk", "error", err)
	}
}

// restoreImage serves a recorded image and mounts it where it was. d.mu is held.
func (d *Daemon) restoreImage(r *Record) error {
	im, err := d.serve(r)
	if err != nil {
		d.log.Warn("a recorded image cannot be served yet", "image", r.Image.Reference, "error", err)
		return err
	}
	d.adoptNative(im)
	d.adoptTree(im)
	for _, m := range r.Mounts {
		if err := d.reattach(im, m); err != nil {
			d.log.Error("mounting again what was mounted", "image", m.Reference, "target", m.Target, "error", err)
			continue
		}
		d.events.tell(EventMounted, r.Image, m.Reference, m.Target)
	}
	d.beginFill(im)
	return nil
}

// reattach makes a recorded mount again, unless something else has its place.
func (d *Daemon) reattach(im *image, m Mount) error {
	mounted, there, err := mountpoint.Topmost(m.Target)
	if there {
		if d.shows(mounted, m) {
			return nil
		}
		err = fmt.Errorf("something else is mounted on %s now", m.Target)
	}
	if err != nil {
		return err
	}
	return d.attach(im, m)
}

// errandEvery is how often what the peer's absence left undone is tried.
const errandEvery = 2 * time.Second

// runErrands does what needs the peer and could not be done at once.
func (d *Daemon) runErrands() {
	ticker := time.NewTicker(errandEvery)
	defer ticker.Stop()
	asked := false
	for {
		select {
		case <-d.ctx.Done():
			return
		case <-ticker.C:
		case <-d.kick:
		}
		if d.tookOver && !asked {
			d.askStore(d.ctx)
			asked = true
		}
		d.mu.Lock()
		waiting := append([]*Record(nil), d.waiting...)
		d.mu.Unlock()
		for _, r := range waiting {
			if !d.runErrand(r) {
				break
			}
		}
		d.pinAll()
	}
}

// maxErrandPause is the longest pause between tries that the peer refuses.
const maxErrandPause = 5 * time.Minute

// runErrand tries one, if it is time for it; false if the peer is away.
func (d *Daemon) runErrand(r *Record) bool {
	if time.Now().Before(r.next) {
		return true
	}
	err := d.errand(r)
	switch {
	case err == nil:
		r.pause = 0
	case errors.Is(err, nodeapi.ErrAway):
		return false
	default:
		r.pause = min(max(2*r.pause, errandEvery), maxErrandPause)
		r.next = time.Now().Add(r.pause)
		d.log.Warn("an image waits", "image", r.Image.Reference, "again_in", r.pause, "error", err)
	}
	return true
}

// errand unpins a record without mounts, or serves one with some.
func (d *Daemon) errand(r *Record) error {
	d.mu.Lock()
	known, wanted := r.Image, r.wanted()
	d.mu.Unlock()
	if !wanted {
		return d.unpin(r)
	}
	opened, err := d.peer.Open(d.ctx, reopenRequest(known), func(nodeapi.Progress) {})
	if err != nil {
		return err
	}
	if opened.Tree != known.Tree {
		return errors.New("the image has another tree now; unmount it and mount it again")
	}
	if err := d.learnStore(d.ctx); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !r.wanted() || !d.forget(r) {
		return nil // it was unmounted, or mounted once more, meanwhile
	}
	if err := d.restoreImage(r); err != nil {
		d.waiting = append(d.waiting, r)
		return err
	}
	return nil
}

// unpin takes the pin of an image that is not mounted any more.
func (d *Daemon) unpin(r *Record) error {
	d.fs.Unexpect(r.ID)
	ctx, cancel := context.WithTimeout(d.ctx, peerPatience)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.images[r.Image.Tree] != nil { // mounted again meanwhile
		d.forget(r)
		return nil
	}
	if err := d.peer.Unpin(ctx, pinName(r.Image.Tree), r.Free); err != nil {
		return err
	}
	d.forget(r)
	return errors.Join(d.retire(r), d.records.remove(r.Image.Tree))
}

// peerPatience bounds the small requests to the peer that hold others up.
const peerPatience = 5 * time.Second

// forget takes a record off the waiting ones; false if it is not one. d.mu is
// held.
func (d *Daemon) forget(r *Record) bool {
	i := slices.Index(d.waiting, r)
	if i < 0 {
		return false
	}
	d.waiting = slices.Delete(slices.Clone(d.waiting), i, i+1)
	return true
}

// pinAll pins what was served from the disk while the peer was away.
func (d *Daemon) pinAll() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, im := range d.images {
		if !im.pinned && d.pin(im) != nil {
			return
		}
	}
}
