package pull

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// fetch brings all blobs in, a few at a time, and tells how far they are.
func (w *walk) fetch(ctx context.Context) error {
	w.running = map[chunk.Digest]Object{}
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
	reader, err := w.open(ctx, src)
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
	w.running[o.Digest] = o
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
	news := make([]Object, 0, len(w.running))
	for d, o := range w.running {
		news = append(news, w.now(o))
		if o.Done {
			delete(w.running, d)
		}
	}
	return news
}

// open opens an object as anybody first, because the node's own credentials are
// its own: they cannot be shown to the swarm. Once they were needed they are
// used for the rest of the image.
func (w *walk) open(ctx context.Context, src distribution.Source) (distribution.Reader, error) {
	if w.own.Load() {
		return w.Objects.Open(ctx, asNode(src))
	}
	reader, err := w.Objects.Open(ctx, src)
	var refused *distribution.OriginError
	if src.Authorization != "" || !errors.As(err, &refused) {
		return reader, err
	}
	switch refused.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		w.own.Store(true)
		return w.Objects.Open(ctx, asNode(src))
	}
	return reader, err
}
