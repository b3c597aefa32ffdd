//go:build !linux

package erofs

import (
	"errors"
	"fmt"
)

// Mount has the kernel mount an image; only Linux can.
func Mount(string, []string, string) error {
	return fmt.Errorf("mount image tree: %w", errors.ErrUnsupported)
}
