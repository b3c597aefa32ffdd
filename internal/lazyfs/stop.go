//go:build linux

package lazyfs

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
)

// Stop ends the daemon. If another can go on with the mounts, and there are any,
// they stay; then the process has to end, too, because it serves the kernel until
// then. Otherwise everything is unmounted but what the kernel mounts natively, and
// the file system goes. Records stay, for the next start.
func (d *Daemon) Stop() error {
	d.stop()
	d.mounter.Close()
	if !d.complete.Load() && d.used() && d.session.lasts() {
		return d.leave()
	}
	return d.stopAll()
}

// leave ends everything but the answers to the kernel. The data directory stays
// locked until the process has ended.
func (d *Daemon) leave() error {
	d.mu.Lock()
	for _, im := range d.images {
		d.endFill(im)
	}
	d.mu.Unlock()
	d.log.Info("mounts stay, and wait for the next daemon", "patience", d.session.Patience)
	return nil
}

// used tells whether anything is mounted or held.
func (d *Daemon) used() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.recordsLocked(), (*Record).wanted)
}

// stopAll leaves nothing of this daemon but records and native mounts.
func (d *Daemon) stopAll() error {
	d.mu.Lock()
	busy := false
	for _, im := range d.images {
		d.endFill(im)
		for _, m := range im.record.Mounts {
			if m.Native {
				continue
			}
			if err := d.detach(m); err != nil {
				d.log.Warn("a mount is still in use; it goes from sight now, and fails for those who use it", "target", m.Target, "error", err)
				busy = true
			}
		}
		if err := d.retireIdle(im); err != nil {
			d.log.Warn("taking away the kernel's view of an image", "image", im.record.Image.Reference, "error", err)
		}
	}
	for _, r := range d.recordsLocked() {
		if err := d.clearTree(r); err != nil {
			d.log.Warn("taking away the kernel's view of an image", "image", r.Image.Reference, "error", err)
		}
	}
	if d.native.Load() {
		if err := d.unmountNative(); err != nil {
			d.log.Warn("unmounting what the kernel serves itself", "error", err)
		}
	}
	d.mu.Unlock()
	if err := d.closeFS(busy); err != nil {
		// The kernel ends the connection with this process; until then it may use all.
		return errors.Join(err, d.session.end(), d.locked.Close())
	}
	err := d.session.end()
	d.serving.Wait()
	d.tasks.Wait()
	d.table.Close()
	for _, im := range d.images {
		im.content.Close()
		err = errors.Join(err, im.tree.close())
	}
	return errors.Join(err, d.locked.Close())
}

// detach unmounts, if need be only from sight; then it says who is in the way.
func (d *Daemon) detach(m Mount) error {
	err := mountpoint.Unmount(m.Target, false)
	if !errors.Is(err, mountpoint.ErrBusy) {
		return err
	}
	return errors.Join(err, mountpoint.Unmount(m.Target, true))
}

// closeFS unmounts the file system, by force if somebody uses it: a container in
// a mount namespace of its own may hold it. On an error the connection still is.
func (d *Daemon) closeFS(busy bool) error {
	closed := make(chan error, 1)
	go func() {
		var err error
		if !busy { // what others show of it keeps it from being unmounted, not from going from sight
			err = errors.Join(mountpoint.Unmount(d.mountDir(), true), d.fs.Close())
		}
		if busy || err != nil {
			err = d.fs.Abort()
		}
		closed <- err
	}()
	timer := time.NewTimer(d.cfg.Grace)
	defer timer.Stop()
	select {
	case err := <-closed:
		return err
	case <-timer.C:
	}
	d.log.Warn("images are still in use in other mount namespaces; their reads fail from now on")
	if err := d.fs.Abort(); err != nil { // which ends a Close that waits
		return fmt.Errorf("images were still in use: %w", err)
	}
	return <-closed
}
