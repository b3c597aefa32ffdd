package erofs

import (
	"bytes"
	"fmt"
	"io/fs"
)

// xattrEntry is one stored attribute: its prefix, and the rest. An empty entry,
// which fills up the area, has prefix -1.
type xattrEntry struct {
	prefix      int // index of prefixes
	rest, value []byte
}

// xattrEntries gives the attributes of n until yield is false.
func (im *Image) xattrEntries(n *Inode, yield func(xattrEntry) bool) error {
	area, ok := im.at(n.place.xattrs, n.place.xattrLen)
	if !ok {
		return corruptXattrs(n)
	}
	if len(area) == 0 {
		return nil
	}
	// Byte 4 counts shared attributes, which image trees do not use.
	if len(area) < xattrHeader || area[4] != 0 {
		return corruptXattrs(n)
	}
	for area = area[xattrHeader:]; len(area) > 0; {
		e, size, ok := parseXattr(area)
		if !ok {
			return corruptXattrs(n)
		}
		area = area[size:]
		if e.prefix < 0 {
			continue
		}
		if !yield(e) {
			return nil
		}
	}
	return nil
}

func parseXattr(b []byte) (e xattrEntry, size int, ok bool) {
	if len(b) < 4 {
		return e, 0, false
	}
	nameEnd := 4 + int(b[0])
	end := nameEnd + int(le.Uint16(b[2:]))
	size = int(alignUp(int64(end), 4))
	if size > len(b) {
		return e, 0, false
	}
	if end == 4 && b[1] == 0 {
		return xattrEntry{prefix: -1}, size, true
	}
	for i, p := range prefixes {
		if p.index == b[1] {
			e = xattrEntry{prefix: i, rest: b[4:nameEnd:nameEnd], value: b[nameEnd:end:end]}
			ok = p.whole == (b[0] == 0) && bytes.IndexByte(e.rest, 0) < 0 && len(p.text)+len(e.rest) <= maxXattrName
			return e, size, ok
		}
	}
	return e, 0, false
}

// Xattrs gives the extended attributes of n, in order of name, until yield is
// false. Values point into the image.
func (im *Image) Xattrs(n *Inode, yield func(name string, value []byte) bool) error {
	return im.xattrEntries(n, func(e xattrEntry) bool {
		return yield(prefixes[e.prefix].text+string(e.rest), e.value)
	})
}

// HasXattrs tells that n has extended attributes.
func (n *Inode) HasXattrs() bool { return n.place.xattrLen > 0 }

// Xattr is the value of one extended attribute of n; it points into the image. If
// n has none of that name, the error is [fs.ErrNotExist].
func (im *Image) Xattr(n *Inode, name string) ([]byte, error) {
	if !n.HasXattrs() {
		return nil, fs.ErrNotExist
	}
	index, rest, ok := splitXattr(name)
	if !ok {
		return nil, fs.ErrNotExist
	}
	var value []byte
	found := false
	err := im.xattrEntries(n, func(e xattrEntry) bool {
		if prefixes[e.prefix].index == index && string(e.rest) == rest {
			value, found = e.value, true
		}
		return !found
	})
	if err == nil && !found {
		err = fs.ErrNotExist
	}
	return value, err
}

func corruptXattrs(n *Inode) error {
	return fmt.Errorf("%w: extended attributes of inode %d are malformed", ErrCorrupt, n.Nid)
}
