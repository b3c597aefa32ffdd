package erofs

import (
	"fmt"
	"slices"
	"strings"
)

// maxXattrPart bounds a name's rest after its prefix; Linux bounds the whole.
const (
	maxXattrName  = 255
	maxXattrValue = 65535
)

// prefixes are the name indexes that the kernel reads. An attribute of another
// name space has no place in EROFS: an index of 0, or one that is not here, the
// kernel neither lists nor finds.
var prefixes = [...]struct {
	index uint8
	text  string
	whole bool // the text is the name
}{
	{1, "user.", false},
	{2, "system.posix_acl_access", true},
	{3, "system.posix_acl_default", true},
	{4, "trusted.", false},
	{6, "security.", false},
}

// XattrError says that EROFS cannot hold an extended attribute.
type XattrError struct {
	Name   string
	Reason string
}

func (e *XattrError) Error() string {
	return fmt.Sprintf("extended attribute %.80q: %s", e.Name, e.Reason)
}

// CheckXattr tells, by an error that is an [XattrError], that EROFS cannot hold x
// at all; a caller may then leave it out.
func CheckXattr(x Xattr) error {
	_, rest, ok := splitXattr(x.Name)
	switch {
	case !ok:
		return &XattrError{x.Name, "no such name space in EROFS"}
	case len(x.Name) > maxXattrName:
		return &XattrError{x.Name, "name is longer than 255 bytes"}
	case strings.IndexByte(rest, 0) >= 0:
		return &XattrError{x.Name, "name has a zero byte"}
	case len(x.Value) > maxXattrValue:
		return &XattrError{x.Name, "value is longer than 65,535 bytes"}
	}
	return nil
}

// CheckXattrs tells, by an error that is an [XattrError], which of x EROFS cannot
// hold on one inode: by itself, because the name comes twice, or because those
// of its name and before fill the 256 KiB that an inode can have.
func CheckXattrs(x []Xattr) error {
	_, err := appendXattrs(nil, x)
	return err
}

// splitXattr finds a name's index and the rest that is stored.
func splitXattr(name string) (index uint8, rest string, ok bool) {
	for _, p := range prefixes {
		if p.whole && name == p.text {
			return p.index, "", true
		}
		if rest, has := strings.CutPrefix(name, p.text); has && !p.whole && rest != "" {
			return p.index, rest, true
		}
	}
	return 0, "", false
}

// appendXattrs appends an inode's area of extended attributes, in order of name;
// nothing if there are none.
func appendXattrs(b []byte, list []Xattr) ([]byte, error) {
	if len(list) == 0 {
		return b, nil
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	begin := len(b)
	b = append(b, make([]byte, xattrHeader)...)
	for i, x := range list {
		if err := CheckXattr(x); err != nil {
			return nil, err
		}
		if i > 0 && x.Name == list[i-1].Name {
			return nil, &XattrError{x.Name, "comes twice"}
		}
		index, rest, _ := splitXattr(x.Name)
		b = append(b, uint8(len(rest)), index)
		b = le.AppendUint16(b, uint16(len(x.Value)))
		b = append(append(b, rest...), x.Value...)
		for (len(b)-begin)%4 != 0 {
			b = append(b, 0)
		}
		if len(b)-begin > maxXattrArea {
			return nil, &XattrError{x.Name, "the inode has more than 256 KiB of them"}
		}
	}
	return b, nil
}

// xattrCount is what an inode says of an area of n bytes, xattrArea the reverse.
func xattrCount(n int) uint16 {
	if n == 0 {
		return 0
	}
	return uint16((n-xattrHeader)/4 + 1)
}

func xattrArea(count uint16) int64 {
	if count == 0 {
		return 0
	}
	return xattrHeader + 4*(int64(count)-1)
}
