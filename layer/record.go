package layer

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unsafe"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// Entry reads entry i, counted from 0 in tar order, into e, whose Xattrs it uses
// again. Everything in e keeps the rules that [Entry] tells, or it is an error.
func (m *Map) Entry(i int, e *Entry) error {
	if i < 0 || i >= m.entries {
		return fmt.Errorf("%w: no entry %d of %d", ErrMap, i, m.entries)
	}
	err := m.entry(i, e)
	if err != nil {
		return fmt.Errorf("entry %d: %w", i, err)
	}
	return nil
}

func (m *Map) entry(i int, e *Entry) error {
	begin := int64(binary.BigEndian.Uint32(m.begins[mapOffset*i:])) * mapAlign
	if begin < mapHeader || begin > int64(m.records)-recordSize {
		return fmt.Errorf("%w: a record at %d", ErrMap, begin)
	}
	r := m.data[begin:m.records]
	parts := r[recordSize:]
	take := func(length int) (part []byte, ok bool) {
		if length > len(parts) {
			return nil, false
		}
		part, parts = parts[:length:length], parts[length:]
		return part, true
	}
	be := binary.BigEndian
	path, ok1 := take(int(be.Uint16(r[recPath:])))
	target, ok2 := take(int(be.Uint16(r[recTarget:])))
	inline, ok3 := take(int(be.Uint16(r[recInline:])))
	holes, ok4 := take(int(be.Uint16(r[recHoles:])))
	xattrs, ok5 := take(int(be.Uint32(r[recXattrs:])))
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 {
		return fmt.Errorf("%w: a record at %d that does not end", ErrMap, begin)
	}
	*e = Entry{
		Path: alias(path), Target: alias(target), Type: Type(r[recType]),
		Mode: uint32(be.Uint16(r[recMode:])), UID: be.Uint32(r[recUID:]), GID: be.Uint32(r[recGID:]),
		Sec: int64(be.Uint64(r[recSec:])), Nsec: be.Uint32(r[recNsec:]), Object: -1, Xattrs: e.Xattrs[:0],
	}
	if e.Mode > 0o7777 || e.Nsec >= 1e9 || validPath(e.Path) != nil {
		return fmt.Errorf("%w: mode %o, %d ns, path %.80q", ErrMap, e.Mode, e.Nsec, e.Path)
	}
	if err := m.content(e, r, inline, holes); err != nil {
		return err
	}
	return e.parseXattrs(xattrs)
}

// content reads what depends on the entry's type.
func (m *Map) content(e *Entry, r, inline, holes []byte) error {
	number, file := binary.BigEndian.Uint64(r[recSize:]), binary.BigEndian.Uint32(r[recFile:])
	if e.Type != Regular && (file != noFile || len(inline) > 0 || len(holes) > 0) {
		return fmt.Errorf("%w: content in an entry of type %d", ErrMap, e.Type)
	}
	bad := e.Type != Char && e.Type != Block && e.Type != Regular && number != 0
	switch e.Type {
	case Regular:
		bad = e.Target != "" || e.Path == ""
		e.Size = int64(number)
	case Symlink:
		bad = bad || e.Target == "" || e.Path == "" || strings.IndexByte(e.Target, 0) >= 0
	case HardLink:
		bad = bad || e.Target == "" || e.Path == "" || validPath(e.Target) != nil
	case Char, Block:
		bad = e.Target != "" || e.Path == ""
		e.Rdev = number
	case Fifo, Whiteout:
		bad = bad || e.Target != "" || e.Path == ""
	case Dir, Opaque:
		bad = bad || e.Target != ""
	default:
		bad = true
	}
	if bad {
		return fmt.Errorf("%w: an entry of type %d for which its parts do not fit", ErrMap, e.Type)
	}
	if e.Type == Regular {
		return m.bytes(e, file, inline, holes)
	}
	return nil
}

// bytes tells where a regular file's bytes are: in just one way.
func (m *Map) bytes(e *Entry, file uint32, inline, holes []byte) error {
	if e.Size < 0 || e.Size > chunk.MaxObject {
		return fmt.Errorf("%w: a file of %d bytes", ErrMap, e.Size)
	}
	if len(holes) > 0 {
		var ok bool
		if e.Holes, ok = chunk.ParseBitmap(holes, chunk.Count(e.Size)); !ok || e.Holes.Count() == 0 {
			return fmt.Errorf("%w: %d bytes of holes in a file of %d", ErrMap, len(holes), e.Size)
		}
	}
	whole := e.Size == 0 || e.Holes != nil && e.Holes.Full()
	switch {
	case file != noFile:
		if whole {
			return fmt.Errorf("%w: bytes in two places", ErrMap)
		}
		if len(inline) > 0 {
			e.Inline = inline
		}
		return m.place(e, int64(file))
	case len(inline) > 0:
		if int64(len(inline)) != e.Size || len(inline) > InlineFile || e.Holes != nil {
			return fmt.Errorf("%w: %d bytes of a file of %d", ErrMap, len(inline), e.Size)
		}
		e.Inline = inline
	case !whole:
		return fmt.Errorf("%w: a file of %d bytes without them", ErrMap, e.Size)
	}
	return nil
}

// place follows an entry's file to its object.
func (m *Map) place(e *Entry, file int64) error {
	if file >= int64(m.files) {
		return fmt.Errorf("%w: no file %d of %d", ErrMap, file, m.files)
	}
	p := m.data[int64(m.records)+mapFile*file:][:mapFile]
	object, offset := int64(binary.BigEndian.Uint32(p[32:])), int64(binary.BigEndian.Uint32(p[36:]))
	if object >= int64(len(m.objects)) {
		return fmt.Errorf("%w: no object %d of %d", ErrMap, object, len(m.objects))
	}
	o := &m.objects[object]
	e.Object, e.Offset, e.File = int(object), offset, chunk.Digest(p[:32])
	misfit := !o.Pack && (offset != 0 || e.Size != o.Size || e.File != o.Digest)
	tail := 0
	if !o.Pack {
		tail = int(e.Size % PackAlign)
	}
	if misfit || len(e.Inline) != tail || offset%PackAlign != 0 || e.Size > o.Size-offset {
		return fmt.Errorf("%w: %d bytes at %d in an object of %d", ErrMap, e.Size, offset, o.Size)
	}
	return nil
}

func (e *Entry) parseXattrs(p []byte) error {
	for len(p) > 0 {
		name := 1 + int(p[0])
		if p[0] == 0 || len(p) < name+2 {
			return fmt.Errorf("%w: attributes that do not end", ErrMap)
		}
		end := name + 2 + int(binary.BigEndian.Uint16(p[name:]))
		if len(p) < end {
			return fmt.Errorf("%w: attributes that do not end", ErrMap)
		}
		x := erofs.Xattr{Name: alias(p[1:name]), Value: p[name+2 : end : end]}
		if n := len(e.Xattrs); n > 0 && e.Xattrs[n-1].Name >= x.Name {
			return fmt.Errorf("%w: attributes out of order", ErrMap)
		}
		if strings.IndexByte(x.Name, 0) >= 0 {
			return fmt.Errorf("%w: an attribute's name with a NUL", ErrMap)
		}
		e.Xattrs = append(e.Xattrs, x)
		p = p[end:]
	}
	return nil
}

// alias is p as a string, without a copy.
func alias(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }
