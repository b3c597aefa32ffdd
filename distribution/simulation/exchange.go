package simulation

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// exchange fetches from the other hosts of the cluster, over their links.
type exchange struct {
	c    *Cluster
	self *Host
}

func (x *exchange) Fetch(ctx context.Context, from distribution.Member, r distribution.Run) (*distribution.Transfer, error) {
	object, size, run := r.Object, r.Size, r.Span
	h := x.c.host(from.ID)
	if h == nil || h.dead() {
		return nil, errGone
	}
	up, err := h.Engine.Upload(object)
	if err != nil {
		return nil, distribution.ErrAbsent
	}
	off := int64(run.First) * chunk.BlockSize
	n := min(int64(run.N)*chunk.BlockSize, size-off)
	if _, err := up.Await(ctx, off, n); err != nil {
		up.Close()
		return nil, err
	}
	t := &transfer{ctx: ctx, x: x, from: h, up: up, off: off, end: off + n}
	return &distribution.Transfer{Sums: up.Sums(int(run.First) / chunk.BlocksPerChunk), Body: t}, nil
}

type transfer struct {
	ctx      context.Context
	x        *exchange
	from     *Host
	up       distribution.Upload
	off, end int64
	ready    int64
	closed   atomic.Bool
}

func (t *transfer) Read(p []byte) (int, error) {
	if t.off == t.end {
		return 0, io.EOF
	}
	if t.ready == 0 {
		n, err := t.up.Await(t.ctx, t.off, t.end-t.off)
		if err != nil {
			return 0, err
		}
		t.ready = n
	}
	n := int(min(int64(len(p)), t.ready, 64<<10))
	if _, err := t.up.ReadAt(p[:n], t.off); err != nil {
		return 0, err
	}
	if t.from.Lies.Load() {
		p[0] ^= 1
	}
	if t.from.dead() {
		return 0, errGone
	}
	if err := carry(t.ctx, &t.from.up, &t.x.self.down, n); err != nil {
		return 0, err
	}
	t.from.Sent.Add(int64(n))
	t.off += int64(n)
	t.ready -= int64(n)
	return n, nil
}

func (t *transfer) Close() error {
	if t.closed.CompareAndSwap(false, true) {
		return t.up.Close()
	}
	return nil
}
