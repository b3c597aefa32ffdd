//go:build !linux

package erofs

import (
	"errors"
	"fmt"
	"os"
)

// Mount has the kernel mount an image; only Linux can.
func Mount(string, []string, int64, string) error {
	return fmt.Errorf("mount image tree: %w", errors.ErrUnsupported)
}

// Detached is Mount without a place.
func Detached(string, []string, int64) (*os.File, error) {
	return nil, fmt.Errorf("mount image tree: %w", errors.ErrUnsupported)
}
