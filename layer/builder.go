package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/shoal-project/shoal/chunk"
)

const (
	// freeContent is what a layer may become before its ratio counts.
	freeContent = 64 << 20
	// maxKnown bounds the earlier packs that one layer may use.
	maxKnown = 1 << 16
)

// builder is the state of one Build.
type builder struct {
	ctx     context.Context
	plain   *plain
	sink    Sink
	known   Known
	limits  Limits
	out     *mapWriter
	files   *fileTable
	objects []object
	packs   map[chunk.Digest]uint32 // the earlier packs among them
	packer  packer
	small   []byte // one small file's bytes
	block   []byte // a part of a large file
	zero    []byte // zeros, as long
	kept    int64  // bytes of files that are not zeros
	sum     Summary
}

func newBuilder(ctx context.Context, sink Sink, known Known, limits Limits) *builder {
	b := &builder{
		ctx: ctx, sink: sink, known: known, limits: limits,
		files: newFileTable(), packs: map[chunk.Digest]uint32{},
		small: make([]byte, LargeFile),
		block: make([]byte, chunk.BlockSize), zero: make([]byte, chunk.BlockSize),
	}
	b.packer = packer{sink: sink, objects: &b.objects}
	return b
}

// entries reads the archive to its end.
func (b *builder) entries() error {
	tr := tar.NewReader(b.plain)
	var e Entry
	for {
		hdr, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		// What names are insecure is decided here.
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("after entry %d: %w", b.sum.Entries, b.readError(err))
		}
		if err := b.entry(hdr, tr, &e); err != nil {
			return fmt.Errorf("entry %d, %.200q: %w", b.sum.Entries, hdr.Name, err)
		}
	}
}

func (b *builder) entry(hdr *tar.Header, r io.Reader, e *Entry) error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	skip, err := b.limits.convert(hdr, e)
	if err != nil || skip {
		return err
	}
	b.sum.Entries++
	if b.limits.Entries > 0 && b.sum.Entries > b.limits.Entries {
		return fmt.Errorf("%w: more than %d entries", ErrLimit, b.limits.Entries)
	}
	b.sum.Files += e.Size
	if b.limits.Plain > 0 && b.sum.Files > b.limits.Plain {
		return fmt.Errorf("%w: more than %d bytes in files", ErrLimit, b.limits.Plain)
	}
	file, err := b.content(e, r)
	if err != nil {
		return err
	}
	if err := b.out.add(e, file); err != nil {
		return err
	}
	return b.keep(0)
}

// readError tells what a failed read of the archive means: the stream's own end
// first, which the archive's reader may have called something else.
func (b *builder) readError(err error) error {
	if end := b.plain.run.err; end != nil && end != io.EOF {
		return end
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// keep counts n bytes that are not zeros against the ratio.
func (b *builder) keep(n int) error {
	b.kept += int64(n)
	allowed := freeContent + int64(b.limits.Ratio)*b.plain.blob.n.Load()
	if b.limits.Ratio > 0 && b.kept+b.out.at > allowed {
		return fmt.Errorf("%w: its bytes become more than %d times as many", ErrLimit, b.limits.Ratio)
	}
	return nil
}

// content reads a regular file, and tells its number if its bytes are in an object.
func (b *builder) content(e *Entry, r io.Reader) (file uint32, err error) {
	if e.Type != Regular || e.Size == 0 {
		return noFile, nil
	}
	if e.Size >= LargeFile {
		return b.large(e, r)
	}
	data := b.small[:e.Size]
	if _, err := io.ReadFull(r, data); err != nil {
		return noFile, b.readError(err)
	}
	if e.Size <= InlineFile {
		e.Inline = data
		return noFile, nil
	}
	if isZero(data) {
		e.Holes = chunk.NewBitmap(1)
		e.Holes.Set(0)
		return noFile, nil
	}
	if err := b.keep(len(data)); err != nil {
		return noFile, err
	}
	return b.addSmall(data)
}

// addSmall finds a small file's bytes in this layer or in an earlier one, or
// packs them.
func (b *builder) addSmall(data []byte) (uint32, error) {
	d := chunk.SumBytes(data)
	i, ok := b.files.find(d)
	if ok {
		return uint32(i), nil
	}
	where, ok := b.recall(d, int64(len(data)))
	if !ok {
		var err error
		if where, err = b.packer.add(data, d); err != nil {
			return noFile, err
		}
	}
	i, err := b.files.add(d, where)
	return uint32(i), err
}

// recall asks for a file of earlier layers. An answer that does not fit is none.
func (b *builder) recall(d chunk.Digest, size int64) (place, bool) {
	if b.known == nil {
		return place{}, false
	}
	p, ok := b.known.Find(d)
	fits := p.File == d && p.Size > 0 && p.Size <= PackMax && p.Offset >= 0 && p.Offset%PackAlign == 0 && size <= p.Size-p.Offset
	if !ok || !fits {
		return place{}, false
	}
	number, ok := b.packs[p.Object]
	if !ok {
		if len(b.packs) >= maxKnown {
			return place{}, false
		}
		number = uint32(len(b.objects))
		b.objects = append(b.objects, object{Object: Object{p.Object, p.Size, true}, known: true})
		b.packs[p.Object] = number
	}
	o := &b.objects[number]
	if o.Size != p.Size {
		return place{}, false
	}
	o.used += min(padded(size, PackAlign), p.Size-p.Offset)
	return place{number, uint32(p.Offset), uint32(size)}, true
}

// addLarge numbers a large file that is in the sink.
func (b *builder) addLarge(d chunk.Digest, size int64) (uint32, error) {
	if i, ok := b.files.find(d); ok {
		return uint32(i), nil
	}
	b.objects = append(b.objects, object{Object: Object{Digest: d, Size: size}})
	b.sum.Large++
	b.sum.Content += size
	i, err := b.files.add(d, place{object: uint32(len(b.objects) - 1)})
	return uint32(i), err
}
