package chunk

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind says what one swarm trades under a list.
type Kind uint8

// The kinds of a list. Whatever its kind, an object is named by the SHA-256 of
// its plain bytes.
const (
	// KindBlob is a registry's blob: its exact bytes.
	KindBlob Kind = 1
	// KindFile is the plain bytes of one large file of a layer.
	KindFile Kind = 2
	// KindPack is small files of a layer, side by side.
	KindPack Kind = 3
	// KindTree is an image's tree of metadata, an EROFS image.
	KindTree Kind = 4
)

// List is the ordered chunk digests of one object: what a swarm trades.
type List struct {
	Kind   Kind
	Object Digest   // the name: the SHA-256 of its bytes
	Size   int64    // in bytes
	Chunks []Digest // Count(Size) of them
}

// ErrList says that a list is malformed: by its form, not by its content.
var ErrList = errors.New("malformed chunk list")

// The list's binary form, which is also what a seal signs:
//
//	8 bytes  "shoal.cl"
//	1 byte   version, 1
//	1 byte   kind
//	32 bytes object
//	8 bytes  size, big endian
//	32 bytes a chunk, in order
const (
	listMagic   = "shoal.cl"
	listVersion = 1
	listHeader  = len(listMagic) + 1 + 1 + 32 + 8
)

// Validate tells whether the parts fit each other.
func (l *List) Validate() error {
	switch {
	case l.Kind < KindBlob || l.Kind > KindTree:
		return fmt.Errorf("%w: kind %d", ErrList, l.Kind)
	case l.Size < 0 || l.Size > MaxObject:
		return fmt.Errorf("%w: size %d", ErrList, l.Size)
	case len(l.Chunks) != Count(l.Size):
		return fmt.Errorf("%w: %d chunks for %d bytes", ErrList, len(l.Chunks), l.Size)
	}
	return nil
}

// Describes tells whether the list is well-formed and that of object d of size
// bytes.
func (l *List) Describes(d Digest, size int64) error {
	if err := l.Validate(); err != nil {
		return err
	}
	if l.Object != d || l.Size != size {
		return fmt.Errorf("%w: it lists %s of %d bytes, not %s of %d", ErrList, l.Object, l.Size, d, size)
	}
	return nil
}

// MarshalBinary gives the list's binary form (docs/FORMAT.md).
func (l *List) MarshalBinary() ([]byte, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, listHeader+32*len(l.Chunks))
	b = append(b, listMagic...)
	b = append(b, listVersion, byte(l.Kind))
	b = append(b, l.Object[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(l.Size))
	return Sums(l.Chunks).AppendBinary(b)
}

// ParseList reads the binary form. What it allocates is bounded by len(p).
func ParseList(p []byte) (*List, error) {
	if len(p) < listHeader || string(p[:len(listMagic)]) != listMagic || p[len(listMagic)] != listVersion {
		return nil, fmt.Errorf("%w: no version %d header", ErrList, listVersion)
	}
	l := &List{Kind: Kind(p[9]), Object: Digest(p[10:42])}
	size := binary.BigEndian.Uint64(p[42:50])
	if size > MaxObject || len(p)-listHeader != 32*Count(int64(size)) {
		return nil, fmt.Errorf("%w: %d bytes of chunk digests for an object of %d bytes", ErrList, len(p)-listHeader, size)
	}
	l.Size = int64(size)
	l.Chunks = make([]Digest, Count(l.Size))
	for i := range l.Chunks {
		copy(l.Chunks[i][:], p[listHeader+32*i:])
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	return l, nil
}
