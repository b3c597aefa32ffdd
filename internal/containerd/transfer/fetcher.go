//go:build linux

package transfer

import (
	"context"
	"sync"
)

// parallel is how many blobs come at a time; the peer fetches the chunks of each
// in parallel.
const parallel = 3

// fetcher brings the blobs of layers that must be unpacked, ahead of their
// unpacking: from the first one that is waited for on, in order.
type fetcher struct {
	pulling *pulling
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	once    sync.Once
	queue   chan int
	came    []chan error

	mu    sync.Mutex
	here  []int64 // bytes of each blob
	total int64   // of all that are to come
}

func (p *pulling) fetcher(ctx context.Context) *fetcher {
	f := &fetcher{pulling: p, queue: make(chan int, len(p.found.Layers)), here: make([]int64, len(p.found.Layers))}
	f.ctx, f.cancel = context.WithCancel(ctx)
	for range p.found.Layers {
		f.came = append(f.came, make(chan error, 1))
	}
	return f
}

// wait returns when the blob of layer i is in containerd's content store.
func (f *fetcher) wait(ctx context.Context, i int) error {
	f.once.Do(func() { f.start(i) })
	select {
	case err := <-f.came[i]:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *fetcher) start(first int) {
	for i := first; i < len(f.came); i++ {
		f.total += f.pulling.found.Layers[i].Size
		f.queue <- i // it has room for all
	}
	close(f.queue)
	for range parallel {
		f.workers.Go(func() {
			for i := range f.queue {
				f.came[i] <- f.fetch(i)
			}
		})
	}
}

func (f *fetcher) fetch(i int) error {
	if err := f.ctx.Err(); err != nil {
		return err
	}
	p, l := f.pulling, f.pulling.found.Layers[i]
	return p.bring(f.ctx, p.source(), l, false, nil, func(done int64) { f.count(i, done) })
}

// count tells how far all blobs are, of which one has so many bytes now.
func (f *fetcher) count(i int, done int64) {
	f.mu.Lock()
	f.here[i] = done
	var sum int64
	for _, n := range f.here {
		sum += n
	}
	f.mu.Unlock()
	f.pulling.say(News{Stage: StageFetch, Done: sum, Total: f.total})
}

// close ends what still comes.
func (f *fetcher) close() {
	f.cancel()
	f.workers.Wait()
}

// oneAtATime lets only one caller tell at a time.
func oneAtATime(tell func(News)) func(News) {
	var mu sync.Mutex
	return func(n News) {
		mu.Lock()
		defer mu.Unlock()
		tell(n)
	}
}
