//go:build linux

package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// opening is an image that is being opened, or was lately. The layers of a pull
// ask for it one after another.
type opening struct {
	done  chan struct{}
	image *Image
	err   error
	until time.Time // it is forgotten; set when done
}

// How long the outcome of an opening is remembered: the one saves the layers of a
// pull from asking again, the other saves them from waiting as long again.
const (
	rememberImage   = 10 * time.Minute
	rememberFailure = 30 * time.Second
)

var errPatience = errors.New("nothing came for so long")

// open is an image by its reference. Concurrent callers share the work, which
// goes on if they leave.
func (s *Snapshotter) open(ctx context.Context, reference string) (*Image, error) {
	o, err := s.opening(reference)
	if err != nil {
		return nil, err
	}
	select {
	case <-o.done:
		return o.image, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// opening is that of a reference; a new one is started if there is none.
func (s *Snapshotter) opening(reference string) (*opening, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return nil, errClosed
	}
	now := time.Now()
	for ref, o := range s.openings {
		if !o.until.IsZero() && now.After(o.until) {
			delete(s.openings, ref)
		}
	}
	if o := s.openings[reference]; o != nil {
		return o, nil
	}
	o := &opening{done: make(chan struct{})}
	s.openings[reference] = o
	s.tasks.Go(func() { s.run(o, reference) })
	return o, nil
}

func (s *Snapshotter) run(o *opening, reference string) {
	image, err := s.openPatiently(reference)
	if err == nil && len(image.DiffIDs) == 0 {
		err = errors.New("it has no layers")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o.until = time.Now().Add(rememberImage)
	if err != nil {
		o.until = time.Now().Add(rememberFailure)
	}
	o.image, o.err = image, err
	close(o.done)
}

// openPatiently opens an image, and gives up if nothing comes for long.
func (s *Snapshotter) openPatiently(reference string) (*Image, error) {
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	timer := time.AfterFunc(s.cfg.Patience, func() { cancel(errPatience) })
	defer timer.Stop()
	var mu sync.Mutex
	last := [2]int64{-1, -1}
	tell := func(done, total int64) {
		mu.Lock()
		defer mu.Unlock()
		if now := [2]int64{done, total}; now != last {
			last = now
			timer.Reset(s.cfg.Patience)
		}
	}
	image, err := s.images.Open(ctx, reference, "", tell)
	if err != nil && context.Cause(ctx) == errPatience {
		return nil, fmt.Errorf("%w (%v): %w", errPatience, s.cfg.Patience, err)
	}
	return image, err
}
