package derive

import (
	"context"
	"sync/atomic"
)

// work is one thing being made, by name, for all who want it. It goes on when
// they leave: what was begun is of use to the next.
type work struct {
	done     chan struct{}
	err      error // set before done closes
	progress atomic.Int64
}

// share runs f once for all concurrent callers with one name.
func (d *Deriver) share(name string, f func(ctx context.Context, w *work) error) *work {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w := d.works[name]; w != nil {
		return w
	}
	w := &work{done: make(chan struct{})}
	if d.ctx.Err() != nil {
		w.err = errClosed
		close(w.done)
		return w
	}
	d.works[name] = w
	d.wg.Go(func() {
		w.err = f(d.ctx, w)
		d.mu.Lock()
		delete(d.works, name)
		d.mu.Unlock()
		close(w.done)
	})
	return w
}

// wait returns when the work has ended, or ctx has.
func (w *work) wait(ctx context.Context) error {
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
