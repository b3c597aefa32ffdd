package layer

import (
	"strings"

	"github.com/shoal-project/shoal/layer/erofs"
)

// settable tells whether a container runtime would set the attribute on a file of
// this type, and EROFS can hold it. Trusted attributes steer the host's own file
// systems, and are none of an image's business. The kernel takes user attributes
// on files and directories alone, and access lists on all but symbolic links.
func settable(x erofs.Xattr, kind Type) bool {
	switch {
	case strings.HasPrefix(x.Name, "trusted."):
		return false
	case strings.HasPrefix(x.Name, "user.") && kind != Regular && kind != Dir:
		return false
	case strings.HasPrefix(x.Name, "system.") && kind == Symlink:
		return false
	}
	return erofs.CheckXattr(x) == nil
}

// modeOf is the type's bits of st_mode.
func modeOf(kind Type) uint32 {
	switch kind {
	case Dir:
		return erofs.ModeDir
	case Symlink:
		return erofs.ModeSymlink
	case Char, Whiteout:
		return erofs.ModeChar
	case Block:
		return erofs.ModeBlock
	case Fifo:
		return erofs.ModeFifo
	}
	return erofs.ModeRegular
}
