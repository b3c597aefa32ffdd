package layer

import (
	"archive/tar"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

const (
	xattrRecord = "SCHILY.xattr."
	// The kernel's numbers of a device have 12 and 20 bits.
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// convert makes an entry, less its content, of a tar header. Skip is true for
// what is no entry of a file system.
func (l *Limits) convert(hdr *tar.Header, e *Entry) (skip bool, err error) {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return true, nil
	}
	path, err := cleanPath(hdr.Name)
	if err != nil {
		return false, err
	}
	path, t, skip, err := parseWhiteout(path)
	if err != nil || skip {
		return skip, err
	}
	*e = Entry{Path: path, Type: t, Object: -1, Xattrs: e.Xattrs[:0]}
	if err := l.checkPath(e.Path); err != nil {
		return false, err
	}
	if t == Whiteout || t == Opaque {
		return false, nil
	}
	if err := e.setType(hdr); err != nil {
		return false, err
	}
	if e.Path == "" && e.Type != Dir {
		return false, fmt.Errorf("%w: the root is not a directory", ErrHostile)
	}
	if err := l.checkTarget(e); err != nil {
		return false, err
	}
	if err := e.setAttributes(hdr); err != nil {
		return false, err
	}
	return false, l.setXattrs(hdr, e)
}

func (l *Limits) checkPath(path string) error {
	if len(path) > maxName || l.Name > 0 && len(path) > l.Name {
		return fmt.Errorf("%w: a path of %d bytes", ErrLimit, len(path))
	}
	if path == "" {
		return nil
	}
	return validPath(path)
}

// setType takes what depends on the type: all but the content.
func (e *Entry) setType(hdr *tar.Header) (err error) {
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse:
		e.Type, e.Size = Regular, hdr.Size
		if e.Size > chunk.MaxObject {
			return fmt.Errorf("%w: a file of %d bytes", ErrLimit, e.Size)
		}
	case tar.TypeDir:
		e.Type = Dir
	case tar.TypeSymlink:
		e.Type, e.Target = Symlink, hdr.Linkname
	case tar.TypeLink:
		e.Type = HardLink
		e.Target, err = cleanPath(hdr.Linkname)
	case tar.TypeChar:
		e.Type = Char
		err = e.setDevice(hdr)
	case tar.TypeBlock:
		e.Type = Block
		err = e.setDevice(hdr)
	case tar.TypeFifo:
		e.Type = Fifo
	default:
		return fmt.Errorf("%w: its type is %q", ErrHostile, hdr.Typeflag)
	}
	return err
}

func (e *Entry) setDevice(hdr *tar.Header) error {
	if hdr.Devmajor < 0 || hdr.Devmajor > maxMajor || hdr.Devminor < 0 || hdr.Devminor > maxMinor {
		return fmt.Errorf("%w: device %d:%d", ErrHostile, hdr.Devmajor, hdr.Devminor)
	}
	e.Rdev = unix.Mkdev(uint32(hdr.Devmajor), uint32(hdr.Devminor))
	return nil
}

func (l *Limits) checkTarget(e *Entry) error {
	if e.Type != Symlink && e.Type != HardLink {
		return nil
	}
	if e.Target == "" || strings.IndexByte(e.Target, 0) >= 0 {
		return fmt.Errorf("%w: its target is %.80q", ErrHostile, e.Target)
	}
	if len(e.Target) > maxName || l.Target > 0 && len(e.Target) > l.Target {
		return fmt.Errorf("%w: a target of %d bytes", ErrLimit, len(e.Target))
	}
	if e.Type == Symlink {
		return nil
	}
	if strings.HasPrefix(e.Target, aufsPrefix) {
		return fmt.Errorf("%w: a hard link to %.80q", ErrHostile, e.Target)
	}
	return validPath(e.Target)
}

func (e *Entry) setAttributes(hdr *tar.Header) error {
	// -1 would mean to leave the owner as it is.
	const maxID = math.MaxUint32 - 1
	if hdr.Uid < 0 || int64(hdr.Uid) > maxID || hdr.Gid < 0 || int64(hdr.Gid) > maxID {
		return fmt.Errorf("%w: owner %d:%d", ErrHostile, hdr.Uid, hdr.Gid)
	}
	e.UID, e.GID = uint32(hdr.Uid), uint32(hdr.Gid)
	e.Mode = uint32(hdr.Mode & 0o7777)
	e.Sec, e.Nsec = hdr.ModTime.Unix(), uint32(hdr.ModTime.Nanosecond())
	return nil
}

func (l *Limits) setXattrs(hdr *tar.Header, e *Entry) error {
	total := 0
	for key, value := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrRecord)
		if !ok {
			continue
		}
		if name == "" || strings.IndexByte(name, 0) >= 0 {
			return fmt.Errorf("%w: an attribute named %.80q", ErrHostile, name)
		}
		total += len(name) + len(value)
		if len(name) > maxComponent || len(value) > maxValue || l.Xattrs > 0 && total > l.Xattrs {
			return fmt.Errorf("%w: %d bytes of attributes, with %.80q of %d", ErrLimit, total, name, len(value))
		}
		e.Xattrs = append(e.Xattrs, erofs.Xattr{Name: name, Value: []byte(value)})
	}
	slices.SortFunc(e.Xattrs, func(a, b erofs.Xattr) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}
