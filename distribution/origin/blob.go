package origin

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// firstIdle is how long the first answer of Open waits for its reader.
const firstIdle = 5 * time.Second

// blob is one object at a registry, read in parts.
type blob struct {
	c      *Client
	call   *call
	digest chunk.Digest
	// size, etag and memory do not change after Open.
	size     int64
	etag     string
	etagHost string
	memory   []byte // the whole of a manifest that came without a length
	ranged   atomic.Bool

	mu     sync.Mutex
	ep     *endpoint // who serves it; nil: not known yet
	target *url.URL  // where ep's redirect led, while that works
	held   *parked   // a body that stands where the next Read may begin
	closed bool
}

// body is an answer's bytes from pos to end of the object.
type body struct {
	*answer
	pos, end int64
	// keep says to put it aside after a Read, for the Read that goes on.
	keep bool
}

func newBlob(c *Client, q *call, d chunk.Digest) *blob {
	b := &blob{c: c, call: q, digest: d}
	q.blob = b
	return b
}

// Size implements [distribution.Blob].
func (b *blob) Size() int64 { return b.size }

// Ranged implements [distribution.Blob].
func (b *blob) Ranged() bool { return b.ranged.Load() }

// Read implements [distribution.Blob]. It asks for nothing before the first
// byte is read. Without ranges, concurrent Reads have a stream each.
func (b *blob) Read(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if off < 0 || n < 0 || off > b.size || n > b.size-off {
		return nil, fmt.Errorf("read bytes %d+%d of %s: it has %d", off, n, b.digest, b.size)
	}
	if b.memory != nil {
		return io.NopCloser(bytes.NewReader(b.memory[off : off+n])), nil
	}
	return &part{b: b, ctx: ctx, off: off, end: off + n, mark: off}, nil
}

// Close implements [distribution.Blob]. Readers go on until they are closed.
func (b *blob) Close() error {
	b.mu.Lock()
	held := b.held
	b.held, b.closed = nil, true
	b.mu.Unlock()
	if held != nil {
		held.drop()
	}
	return nil
}

// hold puts a body aside; there is room for one.
func (b *blob) hold(x *body) {
	if x == nil {
		return
	}
	if x.pos == x.end {
		x.Close()
		return
	}
	idle := firstIdle
	if !b.Ranged() {
		idle = b.c.cfg.Timeout
	}
	b.mu.Lock()
	old := b.held
	b.held = nil
	closed := b.closed
	if !closed {
		b.held = b.call.reg.slots.park(x, idle, b.Ranged())
	}
	b.mu.Unlock()
	if closed {
		x.Close()
	}
	if old != nil {
		old.drop()
	}
}

// takeHeld gives the body put aside if a read from off can begin with it. A
// stream is read forward to off, but never back.
func (b *blob) takeHeld(off int64) *body {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		return nil
	}
	pos := b.held.pos
	if pos == off || pos < off && !b.Ranged() {
		x := b.held.take()
		b.held = nil
		return x
	}
	return nil
}

// adopt remembers who served an answer, and where from.
func (b *blob) adopt(a *answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ep, b.target = a.ep, a.final
}

func (b *blob) endpoint() *endpoint {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ep
}

func (b *blob) locationAt(ep *endpoint) *url.URL {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ep != ep {
		return nil
	}
	return b.target
}

// forget drops what did not work: a redirect's target, or a mirror.
func (b *blob) forget(ep *endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ep == nil || b.ep != ep {
		return
	}
	b.target = nil
	if ep.mirror {
		b.ep = b.call.own()
	}
}

// strongETag is an answer's validator, and the host for which it means anything.
func strongETag(a *answer) (etag, host string) {
	etag = a.resp.Header.Get("ETag")
	if strings.HasPrefix(etag, "W/") || len(etag) > 256 {
		return "", ""
	}
	host = a.ep.base.Host
	if a.final != nil {
		host = a.final.Host
	}
	return etag, host
}
