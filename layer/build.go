package layer

import (
	"context"
	"fmt"
	"io"

	"github.com/shoal-project/shoal/chunk"
)

// Descriptor is a layer as an image's manifest and configuration tell of it.
type Descriptor struct {
	Blob   chunk.Digest
	Size   int64 // of the blob in bytes; 0 if unknown
	DiffID chunk.Digest
}

// Summary says what a layer came to.
type Summary struct {
	Encoding string // "plain", "gzip" or "zstd"
	Entries  int64
	Blob     int64 // bytes of the blob
	Plain    int64 // bytes of the tar stream, all of them
	Files    int64 // bytes of all regular files, as long as they say they are
	Content  int64 // bytes of the distinct objects that were put
	Objects  int   // that the map points into
	Packs    int   // packs that were put
	Large    int   // distinct large files that were put
	Reused   int   // small files that lie in packs of earlier layers
	Repacked int   // small files that were read back from packs of earlier layers
}

// Build maps the layer that blob gives, puts its content into sink and writes its
// map to mapPath. It reads blob to its end, which must be io.EOF only if the bytes
// were those of d.Blob. Known may be nil. A Read of blob must end when ctx does.
//
// A map that is at mapPath already is replaced. After an error there is none that
// was not there before. A process that is killed in between leaves a file behind
// whose name is that of the map, a dot, digits and ".tmp".
func Build(ctx context.Context, blob io.Reader, d Descriptor, sink Sink, known Known, limits Limits, mapPath string) (*Summary, error) {
	b := newBuilder(ctx, sink, known, limits)
	sum, err := b.build(blob, d, mapPath)
	if closeErr := b.files.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("map layer %s: %w", d.Blob, err)
	}
	return sum, nil
}

func (b *builder) build(blob io.Reader, d Descriptor, mapPath string) (_ *Summary, err error) {
	if b.out, err = createMap(mapPath); err != nil {
		return nil, err
	}
	defer b.out.discard()
	b.plain = startPlain(b.ctx, blob, &b.limits)
	defer b.plain.stop()
	if err := b.entries(); err != nil {
		return nil, err
	}
	if err := b.verify(d); err != nil {
		return nil, err
	}
	if err := b.repack(); err != nil {
		return nil, err
	}
	if err := b.packer.flush(); err != nil {
		return nil, err
	}
	objects, renumber := b.compact()
	if err := b.out.finish(b.files, objects, renumber, d.DiffID, b.sum.Plain); err != nil {
		return nil, err
	}
	b.sum.Objects = len(objects)
	b.sum.Packs = b.packer.packs
	b.sum.Content += b.packer.bytes
	return &b.sum, nil
}

// verify reads what is left and tells whether the layer is the one it should be.
func (b *builder) verify(d Descriptor) error {
	diffID, err := b.plain.drain()
	if err != nil {
		return err
	}
	b.sum.Encoding, b.sum.Plain, b.sum.Blob = b.plain.encoding, b.plain.total, b.plain.blob.n.Load()
	if d.Size > 0 && b.sum.Blob != d.Size {
		return fmt.Errorf("%w: the blob has %d bytes, not %d", ErrMalformed, b.sum.Blob, d.Size)
	}
	if diffID != d.DiffID {
		return fmt.Errorf("%w: it is %s, not %s", ErrDiffID, diffID, d.DiffID)
	}
	return nil
}

// repack brings the files that lie in sparsely used packs of earlier layers into
// packs of this one.
func (b *builder) repack() error {
	for i := range b.files.n {
		p, d := b.files.place(i), b.files.digest(i)
		o := b.objects[p.object]
		if !o.known {
			continue
		}
		if !o.sparse() {
			b.sum.Reused++
			continue
		}
		data := b.small[:p.size]
		if err := b.known.Read(Place{o.Digest, o.Size, int64(p.offset), d}, data); err != nil {
			return fmt.Errorf("read a file back from pack %s: %w", o.Digest, err)
		}
		if chunk.SumBytes(data) != d {
			return fmt.Errorf("read a file back from pack %s: %w", o.Digest, chunk.ErrCorrupt)
		}
		where, err := b.packer.add(data, d)
		if err != nil {
			return err
		}
		b.files.setPlace(i, where)
		b.sum.Repacked++
	}
	return nil
}

// compact leaves out the objects that nothing points into any more and those that
// came twice, and tells each one's new number.
func (b *builder) compact() (objects []Object, renumber []uint32) {
	renumber = make([]uint32, len(b.objects))
	seen := make(map[chunk.Digest]uint32, len(b.objects))
	for i, o := range b.objects {
		if o.sparse() {
			continue
		}
		number, ok := seen[o.Digest]
		if !ok {
			number = uint32(len(objects))
			seen[o.Digest] = number
			objects = append(objects, o.Object)
		}
		renumber[i] = number
	}
	return objects, renumber
}
