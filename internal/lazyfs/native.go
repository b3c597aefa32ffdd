//go:build linux

package lazyfs

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/lazyfs/content"
	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
	"github.com/shoal-project/shoal/internal/progress"
	"github.com/shoal-project/shoal/layer/erofs"
)

// mayGraduate refuses to have the kernel serve an image of which anything is
// missing: it would read zeros there.
func (d *Daemon) mayGraduate(ctx context.Context, im *image) error {
	im.content.Learn(ctx)
	if err := ctx.Err(); err != nil {
		return err
	}
	return whole(im.content.Progress())
}

func whole(p content.Progress) error {
	if p.Whole() {
		return nil
	}
	return fmt.Errorf("%s of %s are not on this node yet (%d of %d objects), and the kernel would read zeros there; mount without --native, and again when `lazyfs status` says complete (`lazyfs mount --wait` waits)",
		progress.Bytes(p.Bytes-p.Present), progress.Bytes(p.Bytes), p.Objects-p.Complete, p.Objects)
}

// attachNative has the kernel serve a complete image. One that an earlier daemon
// left is as good.
func (d *Daemon) attachNative(im *image, m Mount) error {
	mounted, err := mountpoint.At(m.Target)
	if err != nil {
		return err
	}
	for _, other := range mounted {
		if other.Type == "erofs" {
			return nil
		}
	}
	if err := d.mayGraduate(d.ctx, im); err != nil {
		return err
	}
	path := func(object chunk.Digest) string {
		return filepath.Join(d.storeDir(), object.Hex()[:2], object.Hex())
	}
	devices := make([]string, len(im.tree.devices))
	for i, device := range im.tree.devices {
		devices[i] = path(device.Object)
	}
	return erofs.Mount(path(im.record.Image.Tree), devices, m.Target)
}
