//go:build linux

package fuse

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// slot is an object of an image: opened at its first use, with the fetches that
// are under way for reads. Fetches belong to the image, not to the read that
// started them: a reader that goes away leaves them to the others.
type slot struct {
	im      *Image
	content Content
	device  erofs.Device
	object  atomic.Pointer[Object] // nil until opened
	hinted  atomic.Bool            // the whole was asked for ahead

	mu      sync.Mutex
	opening *flight
	flights []*flight // no two overlap
	late    late
}

// late is what reads waited for to their deadline a moment ago. The kernel asks
// again for pages that it could not get before it fails a read, once for each file
// system on the way: without this, each time would be another deadline.
type late struct {
	from, to int64
	when     time.Time
}

// lateFor is how long nobody waits for what was late.
const lateFor = time.Second

// gaveUp notes that a read came to its deadline.
func (s *slot) gaveUp(off, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := late{off, off + n, time.Now()}
	if now.when.Sub(s.late.when) < lateFor {
		now.from, now.to = min(now.from, s.late.from), max(now.to, s.late.to)
	}
	s.late = now
}

// isLate tells whether reads of a range just came to their deadline.
func (s *slot) isLate(off, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return off < s.late.to && off+n > s.late.from && time.Since(s.late.when) < lateFor
}

// flight is work that reads wait for: opening an object, or fetching a range.
type flight struct {
	from, to int64
	done     chan struct{}
	err      error // set before done is closed
}

func (s *slot) init(im *Image, c Content, d erofs.Device) { s.im, s.content, s.device = im, c, d }

// opened is the object, or nil.
func (s *slot) opened() Object {
	if o := s.object.Load(); o != nil {
		return *o
	}
	return nil
}

// open begins to open the object, unless that is under way.
func (s *slot) open() *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opening == nil {
		s.opening = &flight{done: make(chan struct{})}
		f := s.opening
		s.im.fetches.Go(func() { s.finishOpen(f) })
	}
	return s.opening
}

func (s *slot) finishOpen(f *flight) {
	o, err := s.content.Open(s.device.Object, s.device.Size)
	if err == nil {
		s.object.Store(&o)
	}
	s.mu.Lock()
	s.opening = nil
	s.mu.Unlock()
	f.err = err
	close(f.done)
}

// fetch gives the flights that together bring a range in: those under way, and
// new ones for what none of them brings. Ranges grow to whole blocks, which are
// what can be verified.
func (s *slot) fetch(o Object, off, n int64) []*flight {
	to := min((off+n+chunk.BlockSize-1)/chunk.BlockSize*chunk.BlockSize, s.device.Size)
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Present(off, n) { // a flight that has just ended brought it
		return nil
	}
	var all []*flight
	for at := off / chunk.BlockSize * chunk.BlockSize; at < to; {
		f, next := s.flightAt(at, to)
		if f == nil {
			f = &flight{from: at, to: next, done: make(chan struct{})}
			s.flights = append(s.flights, f)
			s.im.fs.metrics.Fetches.Inc()
			s.im.fetches.Go(func() { s.finishFetch(o, f) })
		}
		all = append(all, f)
		at = f.to
	}
	return all
}

// flightAt is the flight that brings offset at; if there is none, the offset of
// the first one after it, or to.
func (s *slot) flightAt(at, to int64) (*flight, int64) {
	for _, f := range s.flights {
		if f.from <= at && at < f.to {
			return f, 0
		}
		if at < f.from {
			to = min(to, f.from)
		}
	}
	return nil, to
}

func (s *slot) finishFetch(o Object, f *flight) {
	ctx, cancel := context.WithTimeout(s.im.ctx, s.im.fs.cfg.Deadline)
	defer cancel()
	err := o.Fetch(ctx, f.from, f.to-f.from)
	if err == nil && !o.Present(f.from, f.to-f.from) {
		err = errNotPresent
	}
	s.mu.Lock()
	for i, other := range s.flights {
		if other == f {
			s.flights[i] = s.flights[len(s.flights)-1]
			s.flights = s.flights[:len(s.flights)-1]
			break
		}
	}
	s.mu.Unlock()
	f.err = err
	close(f.done)
}

// errNotPresent is a fetch that said it was done, and was not: the bytes were
// dropped again, or the content is at fault. Either way the read asks again.
var errNotPresent = errors.New("fetched bytes are not present")

// close is called when nothing else uses the slot.
func (s *slot) close() error {
	if o := s.opened(); o != nil {
		return o.Close()
	}
	return nil
}
