package exchange

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// encodingZstd is the content coding (RFC 8878) of a run that travels packed: a
// zstd frame for each block.
const encodingZstd = "zstd"

// Encoders and decoders are costly to make and hold some MiB; they are shared by
// whoever sends or receives at the moment. Both work within the calling
// goroutine.
var (
	encoders = sync.Pool{New: func() any {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithWindowSize(chunk.BlockSize), zstd.WithEncoderCRC(false))
		if err != nil {
			return err
		}
		return e
	}}
	decoders = sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxMemory(chunk.BlockSize), zstd.WithDecoderMaxWindow(chunk.BlockSize))
		if err != nil {
			return err
		}
		return d
	}}
)

// packed sends blocks as zstd frames. A frame leaves as soon as it is made, so a
// run that is still arriving here is relayed without waiting for its end.
func (u *upload) packed(w http.ResponseWriter) (writeFunc, func(), error) {
	e, ok := encoders.Get().(*zstd.Encoder)
	if !ok {
		return nil, nil, errors.New("no zstd encoder")
	}
	plain := u.s.buffers.Get().(*[]byte)
	frame := u.s.buffers.Get().(*[]byte)
	write := func(off, n int64) (int64, error) {
		p := (*plain)[:min(n, chunk.BlockSize-off%chunk.BlockSize)]
		if _, err := u.up.ReadAt(p, off); err != nil && err != io.EOF {
			return 0, err
		}
		*frame = e.EncodeAll(p, (*frame)[:0])
		if _, err := w.Write(*frame); err != nil {
			return 0, err
		}
		return int64(len(p)), nil
	}
	return write, func() {
		encoders.Put(e)
		u.s.buffers.Put(plain)
		*frame = (*frame)[:bufferSize] // it never shrinks below what it began with
		u.s.buffers.Put(frame)
	}, nil
}

// unpacker gives the plain bytes of a packed run: exactly as many as were asked
// for, whatever the other side sends.
type unpacker struct {
	wire    io.ReadCloser
	decoder *zstd.Decoder
	left    int64
}

func unpack(wire io.ReadCloser, n int64, received prometheus.Counter) (io.ReadCloser, error) {
	d, ok := decoders.Get().(*zstd.Decoder)
	if !ok {
		return nil, errors.New("no zstd decoder")
	}
	if err := d.Reset(&counted{wire, received}); err != nil {
		return nil, err
	}
	return &unpacker{wire: wire, decoder: d, left: n}, nil
}

// Read gives what has been decoded. With the last byte it takes in the answer's
// end as well, so that the connection serves the next request.
func (u *unpacker) Read(p []byte) (int, error) {
	if u.left == 0 {
		return 0, io.EOF
	}
	n, err := u.decoder.Read(p[:min(int64(len(p)), u.left)])
	u.left -= int64(n)
	switch {
	case u.left > 0 && errors.Is(err, io.EOF):
		return n, io.ErrUnexpectedEOF
	case err != nil && !errors.Is(err, io.EOF):
		return n, fmt.Errorf("a packed run: %w", err)
	case u.left > 0:
		return n, nil
	}
	var more [1]byte
	if k, _ := u.decoder.Read(more[:]); k > 0 {
		return n, fmt.Errorf("a packed run is longer than was asked for: %w", distribution.ErrMessage)
	}
	return n, nil
}

// Close gives the decoder back.
func (u *unpacker) Close() error {
	if u.decoder != nil {
		if u.decoder.Reset(nil) == nil {
			decoders.Put(u.decoder)
		}
		u.decoder, u.left = nil, 0
	}
	return u.wire.Close()
}

// counted counts bytes as they come over the wire.
type counted struct {
	r        io.Reader
	received prometheus.Counter
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.received.Add(float64(n))
	return n, err
}
