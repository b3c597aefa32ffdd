package origin

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/shoal-project/shoal/chunk"
)

// part is a reader of bytes off to end. It is used by one goroutine at a time.
type part struct {
	b        *blob
	ctx      context.Context
	off, end int64
	cur      *body // nil: the next byte needs a request
	unlink   func() bool
	patience patience
	mark     int64 // off at the last failure that was forgiven
	err      error
}

// Read gives the next bytes, over as many requests as that takes.
func (p *part) Read(buf []byte) (int, error) {
	for p.err == nil && p.off < p.end {
		if len(buf) == 0 {
			return 0, nil
		}
		if err := p.position(); err != nil {
			p.broke(err)
			continue
		}
		n, err := p.cur.Read(buf[:min(int64(len(buf)), p.end-p.off, p.cur.end-p.cur.pos)])
		p.off += int64(n)
		p.cur.pos += int64(n)
		switch {
		case p.cur.pos == p.cur.end:
			p.finish()
		case err == io.EOF:
			p.broke(io.ErrUnexpectedEOF)
		case err != nil:
			p.broke(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	if p.err != nil {
		return 0, p.err
	}
	return 0, io.EOF
}

// position makes cur a body that stands at off.
func (p *part) position() error {
	if p.cur == nil {
		x := p.b.takeHeld(p.off)
		if x == nil {
			var err error
			if x, err = p.b.request(p.ctx, p.off, p.end-p.off, &p.patience); err != nil {
				p.err = err
				return err
			}
		}
		p.cur, p.unlink = x, x.link(p.ctx)
	}
	if p.cur.pos == p.off {
		return nil
	}
	n, err := io.CopyN(io.Discard, p.cur.answer, p.off-p.cur.pos)
	p.cur.pos += n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// finish ends a body that gave all it had. If that was less than was asked for,
// the next request follows at once, unless such answers become a habit.
func (p *part) finish() {
	p.drop()
	if p.off == p.end {
		return
	}
	if !p.forgive() && !p.patience.more(p.b.c.cfg) {
		p.err = lie("many short ranges")
	}
}

// broke ends a body that failed, and waits before the next, or gives up.
func (p *part) broke(err error) {
	p.b.call.forget(p.endpoint())
	p.drop()
	if p.err != nil {
		return
	}
	if p.ctx.Err() != nil {
		p.err = unreachable(p.b.call.reg.name, context.Cause(p.ctx))
		return
	}
	p.forgive()
	first := p.patience.tries == 0
	wait, ok := p.b.c.patient(p.b.call, &p.patience, nil, err)
	if !ok {
		p.err = unreachable(p.b.call.reg.name, err)
		return
	}
	if first {
		return
	}
	if err := sleep(p.ctx, wait); err != nil {
		p.err = unreachable(p.b.call.reg.name, err)
	}
}

// forgive forgets earlier failures once there was a block's worth of progress.
func (p *part) forgive() bool {
	if p.off-p.mark < chunk.BlockSize {
		return false
	}
	p.patience.tries, p.mark = 0, p.off
	return true
}

func (p *part) endpoint() *endpoint {
	if p.cur == nil {
		return nil
	}
	return p.cur.ep
}

func (p *part) drop() {
	if p.cur != nil {
		p.unlink()
		p.cur.Close()
		p.cur = nil
	}
}

// Close ends the reader. A stream that stands well is kept for the next one.
func (p *part) Close() error {
	if p.cur != nil && p.err == nil && p.cur.keep && p.unlink() {
		p.b.hold(p.cur)
		p.cur = nil
	}
	p.drop()
	if p.err == nil {
		p.err = errors.New("read of a closed part")
	}
	return nil
}

// request asks for n bytes from off, or the whole where ranges do not work.
func (b *blob) request(ctx context.Context, off, n int64, p *patience) (*body, error) {
	q := *b.call
	q.header = b.call.header.Clone()
	q.header.Del("Range")
	if b.Ranged() {
		q.header.Set("Range", rangeHeader(off, n))
	}
	var x *body
	a, err := b.c.fetch(ctx, &q, p, func(a *answer) (err error) {
		x, err = b.accept(a, off, n)
		return err
	})
	if err != nil {
		return nil, err
	}
	b.adopt(a)
	return x, nil
}

// accept checks a later answer against what is known of the object.
func (b *blob) accept(a *answer, off, n int64) (*body, error) {
	if err := plain(a.resp, b.digest); err != nil {
		return nil, err
	}
	if etag, host := strongETag(a); etag != "" && b.etag != "" && host == b.etagHost && etag != b.etag {
		return nil, lie("ETag changed from %.60q to %.60q", b.etag, etag)
	}
	switch a.resp.StatusCode {
	case http.StatusPartialContent:
		r, err := checkRange(a.resp, off, n)
		if err == nil && r.total >= 0 && r.total != b.size {
			err = lie("the size changed from %d to %d", b.size, r.total)
		}
		return &body{answer: a, pos: off, end: r.last + 1}, err
	case http.StatusOK:
		if l := a.resp.ContentLength; l >= 0 && l != b.size {
			return nil, lie("the size changed from %d to %d", b.size, l)
		}
		b.ranged.Store(false)
		return &body{answer: a, end: b.size, keep: true}, nil
	}
	return nil, lie("status %d", a.resp.StatusCode)
}
