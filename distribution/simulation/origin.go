package simulation

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Origin is a registry behind an uplink.
type Origin struct {
	up link

	mu      sync.Mutex
	content map[chunk.Digest][]byte
	// Sent counts the bytes of all ranges.
	Sent atomic.Int64
	// Requests counts the ranges.
	Requests atomic.Int64
	// Down makes every request fail.
	Down atomic.Bool
	// Limit, if not zero, is how many bytes are sent before the rest waits until
	// it is zero again.
	Limit atomic.Int64
}

// Add makes content available and returns its name.
func (o *Origin) Add(content []byte) chunk.Digest {
	d := chunk.SumBytes(content)
	o.AddAs(d, content)
	return d
}

// AddAs makes content available under any name: a lying registry.
func (o *Origin) AddAs(d chunk.Digest, content []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.content[d] = content
}

func (o *Origin) find(d chunk.Digest) ([]byte, error) {
	if o.Down.Load() {
		return nil, &distribution.OriginError{Message: "is down"}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	content, ok := o.content[d]
	if !ok {
		return nil, &distribution.OriginError{Status: 404, Code: "BLOB_UNKNOWN", Message: "unknown"}
	}
	return content, nil
}

// view is the origin as one host reaches it.
type view struct {
	o    *Origin
	down *link
}

func (v view) Stat(_ context.Context, src distribution.Source) (int64, error) {
	content, err := v.o.find(src.Digest)
	return int64(len(content)), err
}

func (v view) Open(_ context.Context, src distribution.Source) (distribution.Blob, error) {
	content, err := v.o.find(src.Digest)
	if err != nil {
		return nil, err
	}
	return &blob{v: v, id: src.Digest, content: content}, nil
}

type blob struct {
	v       view
	id      chunk.Digest
	content []byte
}

func (b *blob) Size() int64  { return int64(len(b.content)) }
func (b *blob) Ranged() bool { return true }
func (b *blob) Close() error { return nil }

func (b *blob) Read(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if _, err := b.v.o.find(b.id); err != nil {
		return nil, err
	}
	b.v.o.Requests.Add(1)
	return &body{ctx: ctx, b: b, r: bytes.NewReader(b.content[off : off+n])}, nil
}

type body struct {
	ctx context.Context
	b   *blob
	r   *bytes.Reader
}

func (r *body) Read(p []byte) (int, error) {
	if r.b.v.o.Down.Load() {
		return 0, &distribution.OriginError{Message: "is down"}
	}
	for limit := r.b.v.o.Limit.Load(); limit > 0 && r.b.v.o.Sent.Load() >= limit; limit = r.b.v.o.Limit.Load() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		}
	}
	n, err := r.r.Read(p[:min(len(p), 64<<10)])
	if n > 0 {
		if err := carry(r.ctx, &r.b.v.o.up, r.b.v.down, n); err != nil {
			return 0, err
		}
		r.b.v.o.Sent.Add(int64(n))
	}
	return n, err
}

func (r *body) Close() error { return nil }
