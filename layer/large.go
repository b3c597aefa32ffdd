package layer

import (
	"bytes"
	"fmt"
	"io"

	"github.com/shoal-project/shoal/chunk"
)

const zeroRun = 4 << 10

// isZero tells whether p is all zeros.
func isZero(p []byte) bool {
	var zeros [zeroRun]byte
	for len(p) > zeroRun {
		if !bytes.Equal(p[:zeroRun], zeros[:]) {
			return false
		}
		p = p[zeroRun:]
	}
	return bytes.Equal(p, zeros[:len(p)])
}

// largeFile brings one large file into the sink. It begins when the first byte
// that is not zero appears: a file of zeros alone is no object.
type largeFile struct {
	b       *builder
	size    int64
	holes   *chunk.Bitmap
	ingest  Ingest
	pending int64  // zeros that were read and not yet written
	tail    []byte // the bytes behind the last whole block of PackAlign
}

// large reads a file of at least LargeFile bytes and tells which number it has.
func (b *builder) large(e *Entry, r io.Reader) (uint32, error) {
	l := &largeFile{b: b, size: e.Size, holes: chunk.NewBitmap(chunk.Count(e.Size))}
	defer l.abort()
	for i := range l.holes.Len() {
		if err := l.piece(i, r); err != nil {
			return noFile, err
		}
	}
	if l.holes.Count() > 0 {
		e.Holes = l.holes
	}
	if l.ingest == nil {
		return noFile, nil
	}
	if err := l.zeros(); err != nil {
		return noFile, err
	}
	e.Inline = l.tail
	d, err := l.ingest.Commit()
	if err != nil {
		return noFile, fmt.Errorf("put a file of %d bytes: %w", l.size, err)
	}
	return b.addLarge(d, l.size)
}

// abort does nothing after a commit. What it says could only hide why.
func (l *largeFile) abort() {
	if l.ingest != nil {
		_ = l.ingest.Abort()
	}
}

// piece reads the 4 MiB from i*4 MiB on, or what there is.
func (l *largeFile) piece(i int, r io.Reader) error {
	if err := l.b.ctx.Err(); err != nil {
		return err
	}
	empty := true
	for rest := chunk.Length(l.size, i); rest > 0; {
		p := l.b.block[:min(rest, int64(len(l.b.block)))]
		if _, err := io.ReadFull(r, p); err != nil {
			return l.b.readError(err)
		}
		rest -= int64(len(p))
		if rest == 0 {
			l.tail = append(l.tail[:0], p[len(p)-len(p)%PackAlign:]...)
		}
		if isZero(p) {
			l.pending += int64(len(p))
			continue
		}
		empty = false
		if err := l.write(p); err != nil {
			return err
		}
	}
	if empty {
		l.holes.Set(i)
	}
	return nil
}

func (l *largeFile) write(p []byte) error {
	if err := l.b.keep(len(p)); err != nil {
		return err
	}
	if l.ingest == nil {
		ingest, err := l.b.sink.Ingest(l.size)
		if err != nil {
			return fmt.Errorf("put a file of %d bytes: %w", l.size, err)
		}
		l.ingest = ingest
	}
	if err := l.zeros(); err != nil {
		return err
	}
	return l.give(p)
}

// zeros writes the zeros that are pending.
func (l *largeFile) zeros() error {
	for l.pending > 0 {
		if err := l.b.ctx.Err(); err != nil {
			return err
		}
		n := min(l.pending, int64(len(l.b.zero)))
		if err := l.give(l.b.zero[:n]); err != nil {
			return err
		}
		l.pending -= n
	}
	return nil
}

func (l *largeFile) give(p []byte) error {
	if _, err := l.ingest.Write(p); err != nil {
		return fmt.Errorf("put a file of %d bytes: %w", l.size, err)
	}
	return nil
}
