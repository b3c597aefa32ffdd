package pull

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/chunk"
)

// fetch brings all blobs in, a few at a time, and tells how far they are.
func (w *walk) fetch(ctx context.Context) error {
	w.open = map[chunk.Digest]Object{}
	w.tell(Event{Image: w.image, Objects: w.blobs})
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(w.Parallel)
	told := make(chan struct{})
	stop := make(chan struct{})
	go func() { defer close(told); w.report(stop) }()
	for _, o := range w.blobs {
		group.Go(func() error { return w.one(ctx, o) })
	}
	err := group.Wait()
	close(stop)
	<-told
	return err
}

func (w *walk) one(ctx context.Context, o Object) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	src := w.src
	src.Digest = o.Digest
	w.note(o)
	reader, err := w.Objects.Open(ctx, src)
	if err != nil {
		return fmt.Errorf("%s %s: %w", o.Kind, o.Digest, err)
	}
	defer reader.Close()
	if err := reader.Wait(ctx); err != nil {
		return fmt.Errorf("%s %s: %w", o.Kind, o.Digest, err)
	}
	o.Done = true
	w.note(o)
	return nil
}

func (w *walk) note(o Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[o.Digest] = o
}

// report tells what is open at each interval, and once more at the end.
func (w *walk) report(stop <-chan struct{}) {
	ticker := time.NewTicker(w.Interval)
	defer ticker.Stop()
	for ended := false; !ended; {
		select {
		case <-stop:
			ended = true
		case <-ticker.C:
		}
		if news := w.news(); len(news) > 0 {
			w.tell(Event{Image: w.image, Objects: news})
		}
	}
}

func (w *walk) news() []Object {
	w.mu.Lock()
	defer w.mu.Unlock()
	news := make([]Object, 0, len(w.open))
	for d, o := range w.open {
		news = append(news, w.now(o))
		if o.Done {
			delete(w.open, d)
		}
	}
	return news
}
