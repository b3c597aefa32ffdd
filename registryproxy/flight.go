package registryproxy

import (
	"context"
	"sync"
)

// flights collapses concurrent questions of one key into one. The question runs
// on, in a context of its own, when the caller who began it goes away; whoever
// asked gives up when its own context ends.
type flights[V any] struct {
	ctx  context.Context // ends with the proxy
	wg   *sync.WaitGroup // the proxy waits for it
	mu   sync.Mutex
	open map[string]*flight[V]
}

type flight[V any] struct {
	done  chan struct{}
	value V // valid after done
}

func newFlights[V any](ctx context.Context, wg *sync.WaitGroup) *flights[V] {
	return &flights[V]{ctx: ctx, wg: wg, open: make(map[string]*flight[V])}
}

func (f *flights[V]) do(ctx context.Context, key string, ask func(context.Context) V) (v V, err error) {
	f.mu.Lock()
	c, ok := f.open[key]
	if !ok {
		c = &flight[V]{done: make(chan struct{})}
		f.open[key] = c
		f.wg.Go(func() { f.run(key, c, ask) })
	}
	f.mu.Unlock()
	select {
	case <-c.done:
		return c.value, nil
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

func (f *flights[V]) run(key string, c *flight[V], ask func(context.Context) V) {
	defer func() {
		f.mu.Lock()
		delete(f.open, key)
		f.mu.Unlock()
		close(c.done)
	}()
	c.value = ask(f.ctx)
}
