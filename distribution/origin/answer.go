package origin

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// answer is a response that holds one slot until it is closed. Its life is its
// own: link ties it to a context for as long as somebody works for that one.
// Reads are guarded by the registry's timeout and count into its rate.
type answer struct {
	reg     *registry
	resp    *http.Response
	ep      *endpoint
	final   *url.URL // where a redirect to another host led; nil without one
	ctx     context.Context
	cancel  context.CancelCauseFunc
	guard   *time.Timer
	close   sync.Once
	release func()
}

// newAnswer starts the life of an answer; the slot is already held.
func newAnswer(ctx context.Context, reg *registry, s *slots) *answer {
	a := &answer{reg: reg, release: s.release}
	a.ctx, a.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	a.guard = time.AfterFunc(reg.timeout, func() { a.cancel(errStalled) })
	return a
}

// link ends the answer when ctx ends, until the returned function is called.
func (a *answer) link(ctx context.Context) (unlink func() bool) {
	return context.AfterFunc(ctx, func() { a.cancel(context.Cause(ctx)) })
}

func (a *answer) Read(p []byte) (int, error) {
	if l := a.reg.bytes; l != nil {
		p = p[:min(len(p), l.Burst())]
	}
	a.guard.Reset(a.reg.timeout)
	n, err := a.resp.Body.Read(p)
	a.guard.Stop()
	a.reg.metrics.bytes.Add(float64(n))
	if l := a.reg.bytes; l != nil && n > 0 {
		if werr := l.WaitN(a.ctx, n); werr != nil && err == nil {
			err = werr
		}
	}
	if err != nil && err != io.EOF && a.ctx.Err() != nil {
		err = context.Cause(a.ctx)
	}
	return n, err
}

// Close gives the slot back. It is idempotent.
func (a *answer) Close() error {
	a.close.Do(func() {
		if a.resp != nil {
			a.resp.Body.Close()
		}
		a.guard.Stop()
		a.cancel(context.Canceled)
		a.release()
	})
	return nil
}

// fail ends an answer that got no response.
func (a *answer) fail(err error) error {
	if cause := context.Cause(a.ctx); cause != nil {
		err = cause
	}
	a.Close()
	return err
}
