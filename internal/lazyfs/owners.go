//go:build linux

package lazyfs

import (
	"errors"
	"fmt"
	"os"

	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
)

// withOwners has an overlay made whose lower directory shows an image as owners'
// own. An overlay cannot be mapped, its layers can: the image is bound with the map
// onto a directory that is only there until the overlay has it. It is below
// nativeRoot, where the next start clears away what a crash leaves.
func (d *Daemon) withOwners(image string, as mountpoint.Owners, overlay func(lower string) error) error {
	if as.None() {
		return overlay(image)
	}
	if err := os.MkdirAll(d.nativeRoot(), 0o755); err != nil {
		return fmt.Errorf("making %s: %w", d.nativeRoot(), err)
	}
	lower, err := os.MkdirTemp(d.nativeRoot(), "ids-")
	if err != nil {
		return fmt.Errorf("making a directory to map an image's ids on: %w", err)
	}
	if err = mountpoint.Bind(image, lower, as); err == nil {
		err = errors.Join(overlay(lower), mountpoint.Unmount(lower, true))
	}
	return errors.Join(err, os.Remove(lower))
}
