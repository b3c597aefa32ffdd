package layer

import (
	"fmt"
	"strings"
)

// maxComponent is how long one name in a directory may be on Linux.
const maxComponent = 255

// cleanPath gives a tar name as the path below the root that it means: leading
// slashes, "." and empty components are dropped, ".." takes back the component
// before it, as unpackers do. A name that climbs above the root is refused, where
// an unpacker would stay at the root.
func cleanPath(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("%w: a name with a NUL", ErrHostile)
	}
	if validPath(name) == nil {
		return name, nil
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			if len(parts) == 0 {
				return "", fmt.Errorf("%w: a name that leaves the root", ErrHostile)
			}
			parts = parts[:len(parts)-1]
		default:
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/"), nil
}

// validPath tells whether a path is one that [Entry.Path] may be.
func validPath(path string) error {
	for rest, more := path, path != ""; more; {
		var part string
		part, rest, more = strings.Cut(rest, "/")
		if part == "" || part == "." || part == ".." || strings.IndexByte(part, 0) >= 0 {
			return fmt.Errorf("%w: a path with the component %.80q", ErrHostile, part)
		}
		if len(part) > maxComponent {
			return fmt.Errorf("%w: a name of %d bytes, more than %d", ErrLimit, len(part), maxComponent)
		}
	}
	return nil
}

// What marks a removal, in a layer's names.
const (
	whiteoutPrefix = ".wh."
	opaqueName     = ".wh..wh..opq"
	// aufsPrefix begins names at the root that only a union file system meant for
	// itself. Unpackers drop them.
	aufsPrefix = ".wh..wh."
)

// parseWhiteout tells what a cleaned path means: an entry (zero), a Whiteout or an
// Opaque, and of which path. Skip is true for a path that means nothing.
func parseWhiteout(path string) (of string, t Type, skip bool, err error) {
	dir, base := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, base = path[:i], path[i+1:]
	}
	if base == opaqueName {
		return dir, Opaque, false, nil
	}
	if strings.HasPrefix(path, aufsPrefix) {
		return "", 0, true, nil
	}
	hidden, ok := strings.CutPrefix(base, whiteoutPrefix)
	if !ok {
		return path, 0, false, nil
	}
	// Removing the directory that the whiteout lies in, or its parent, is nothing
	// that a layer's maker can have meant.
	if hidden == "" || hidden == "." || hidden == ".." {
		return "", 0, false, fmt.Errorf("%w: a whiteout of %q", ErrHostile, hidden)
	}
	if dir != "" {
		hidden = dir + "/" + hidden
	}
	return hidden, Whiteout, false, nil
}
