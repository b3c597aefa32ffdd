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
// ask for it one after another. All of it is held for a user of its own from then
// until the top layer does: what cannot be held is not begun to be lazy, because
// later layers of a pull cannot be unpacked on a view that is not there.
type opening struct {
	reference string
	user      string
	done      chan struct{}
	image     *Image
	why       *Reason       // it cannot be lazy; nil if it can
	until     time.Time     // it is forgotten; set if it cannot be lazy
	used      chan struct{} // by a layer, which prolongs the hold
	let       sync.Once     // go of the hold
}

const (
	// rememberFailure saves the layers of a pull from waiting as long again.
	rememberFailure = 30 * time.Second
	// holdFor is how long an image is held after the last layer asked, if its top
	// never comes: the pull was given up.
	holdFor = time.Minute
)

var errPatience = errors.New("nothing came for so long")

// open opens an image by its reference. Concurrent callers share the work, which
// goes on if they leave.
func (s *Snapshotter) open(ctx context.Context, reference string) (*opening, error) {
	o, err := s.opening(reference)
	if err != nil {
		return nil, err
	}
	select {
	case <-o.done:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case o.used <- struct{}{}:
	default:
	}
	return o, s.ended(ctx) // else its failure may be no verdict on the image
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
	s.pulls++
	o := &opening{reference: reference, user: fmt.Sprintf("%spull-%d", userPrefix, s.pulls), done: make(chan struct{}), used: make(chan struct{}, 1)}
	s.openings[reference] = o
	s.tasks.Go(func() { s.run(o) })
	return o, nil
}

// run opens an image and holds it until the pull is over.
func (s *Snapshotter) run(o *opening) {
	image, why := s.openAndHold(o)
	s.mu.Lock()
	if why != nil {
		o.until = time.Now().Add(rememberFailure)
	}
	o.image, o.why = image, why
	close(o.done)
	s.mu.Unlock()
	if why != nil {
		return
	}
	timer := time.NewTimer(holdFor)
	defer timer.Stop()
	for {
		select {
		case <-o.used:
			timer.Reset(holdFor)
		case <-timer.C:
			s.letGoOf(o)
			return
		case <-s.ctx.Done():
			return // the next start lets go
		}
	}
}

func (s *Snapshotter) openAndHold(o *opening) (*Image, *Reason) {
	reference := o.reference
	image, err := s.openPatiently(reference)
	switch {
	case errors.Is(err, errPatience):
		return nil, &Reason{ReasonPatience, fmt.Sprintf("the image is not ready to be shown lazily: %v", err), reference}
	case err != nil:
		return nil, &Reason{ReasonOpen, fmt.Sprintf("the image cannot be shown lazily: %v", err), reference}
	case len(image.DiffIDs) == 0:
		return nil, &Reason{ReasonOpen, "the image has no layers", reference}
	}
	if err := s.hold(s.ctx, o.user, image, len(image.DiffIDs)); err != nil {
		return nil, &Reason{ReasonHold, fmt.Sprintf("the image cannot be kept: %v", err), reference}
	}
	return image, nil
}

// letGoOf ends the hold for the time of a pull. The next one opens the image anew.
func (s *Snapshotter) letGoOf(o *opening) {
	s.mu.Lock()
	if s.openings[o.reference] == o {
		delete(s.openings, o.reference)
	}
	s.mu.Unlock()
	o.let.Do(func() { s.letGo(o.user) })
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
