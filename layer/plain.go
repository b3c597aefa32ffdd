package layer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/shoal-project/shoal/chunk"
)

const (
	plainBlock  = 256 << 10 // what stays in a core's cache between the stages
	plainBlocks = 8
)

// plain gives a blob's plain bytes. One goroutine decompresses, one hashes, and
// the reader has what both have done; a fixed set of buffers goes round.
type plain struct {
	ctx      context.Context
	cancel   context.CancelFunc
	stages   sync.WaitGroup
	free     chan []byte
	inflated chan plainRun
	hashed   chan plainRun
	blob     *blobReader
	limits   *Limits
	encoding string    // written by the first stage
	total    int64     // written by the first stage
	sum      hash.Hash // written by the second stage
	run      plainRun  // the reader's
	rest     []byte    // of run, not yet read
}

// plainRun is some plain bytes; err, if any, comes after them.
type plainRun struct {
	p   []byte
	err error
}

// blobReader counts what was read, and keeps the error that it ended with.
type blobReader struct {
	r   io.Reader
	n   atomic.Int64
	err error
}

func (b *blobReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n.Add(int64(n))
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

func startPlain(ctx context.Context, blob io.Reader, limits *Limits) *plain {
	p := &plain{
		free:     make(chan []byte, plainBlocks),
		inflated: make(chan plainRun, plainBlocks),
		hashed:   make(chan plainRun, plainBlocks),
		blob:     &blobReader{r: blob},
		limits:   limits,
		sum:      sha256.New(),
	}
	p.ctx, p.cancel = context.WithCancel(ctx)
	for range plainBlocks {
		p.free <- make([]byte, plainBlock)
	}
	p.stages.Go(p.inflate)
	p.stages.Go(p.digest)
	return p
}

// stop ends both stages and waits for them.
func (p *plain) stop() {
	p.cancel()
	p.stages.Wait()
}

// inflate is the first stage.
func (p *plain) inflate() {
	defer close(p.inflated)
	r, done, err := p.open()
	defer done()
	if err != nil {
		p.inflated <- plainRun{err: p.explain(err)}
		return
	}
	for err == nil {
		var run plainRun
		select {
		case buf := <-p.free:
			run.p = buf
		case <-p.ctx.Done():
			return
		}
		n := 0
		for err == nil && n < len(run.p) {
			var m int
			m, err = r.Read(run.p[n:])
			n += m
		}
		p.total += int64(n)
		run.p = run.p[:n]
		if p.limits.Plain > 0 && p.total > p.limits.Plain {
			err = fmt.Errorf("%w: more than %d plain bytes", ErrLimit, p.limits.Plain)
		}
		run.err = p.explain(err)
		p.inflated <- run // has room for every buffer
	}
}

// open finds out the compression. Done is to be called in any case. An end of the
// blob within the compression's header is not the clean end of a plain stream.
func (p *plain) open() (r io.Reader, done func(), err error) {
	br := bufio.NewReaderSize(p.blob, plainBlock)
	magic, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, func() {}, err
	}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b, 8}):
		p.encoding = "gzip"
		r, err := gzip.NewReader(br)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return r, func() {}, err
	case isZstd(magic):
		p.encoding = "zstd"
		r, err := zstd.NewReader(br, p.zstdOptions()...)
		if err != nil {
			return nil, func() {}, err
		}
		return r, r.Close, nil
	}
	p.encoding = "plain"
	return br, func() {}, nil
}

func (p *plain) zstdOptions() []zstd.DOption {
	options := []zstd.DOption{zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true)}
	if p.limits.Window > 0 {
		options = append(options, zstd.WithDecoderMaxWindow(uint64(p.limits.Window)))
	}
	return options
}

// isZstd tells a frame of content, or one to skip, which may come first.
func isZstd(magic []byte) bool {
	return bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18})
}

// explain says whose fault an end is. The blob's reader comes first: what it cut
// off looks malformed.
func (p *plain) explain(err error) error {
	switch {
	case err == nil || err == io.EOF || errors.Is(err, ErrLimit):
		return err
	case p.blob.err != nil:
		return fmt.Errorf("read the blob: %w", p.blob.err)
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return fmt.Errorf("%w: a zstd window over %d bytes", ErrLimit, p.limits.Window)
	}
	return fmt.Errorf("%w: decompress %s: %w", ErrMalformed, p.encoding, err)
}

// digest is the second stage.
func (p *plain) digest() {
	defer close(p.hashed)
	for run := range p.inflated {
		p.sum.Write(run.p)
		p.hashed <- run
	}
}

// next waits for the next run, and gives back the buffer of the last.
func (p *plain) next() error {
	if p.run.err != nil {
		return p.run.err
	}
	if p.run.p != nil {
		p.free <- p.run.p[:plainBlock]
		p.run.p = nil
	}
	run, ok := <-p.hashed
	if !ok { // the first stage was told to stop
		run.err = context.Cause(p.ctx)
	}
	p.run, p.rest = run, run.p
	return nil
}

func (p *plain) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// drain reads to the end, past the end of the archive, and gives the digest of
// all the plain bytes there were.
func (p *plain) drain() (chunk.Digest, error) {
	for {
		if err := p.next(); err == io.EOF {
			break
		} else if err != nil {
			return chunk.Digest{}, err
		}
	}
	p.stages.Wait()
	return chunk.Digest(p.sum.Sum(nil)), nil
}
