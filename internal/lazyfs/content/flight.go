//go:build linux

package content

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shoal-project/shoal/internal/nodeapi"
)

// flight is one request for a run of blocks that reads wait for. It goes on
// while somebody waits, whoever began it.
type flight struct {
	first, end int
	image      *Image
	waiters    int           // o.mu
	left       chan struct{} // closed when the last waiter leaves
	done       chan struct{}
	err        error // set before done is closed
}

// fetch waits for the flights that carry a range.
func (o *object) fetch(ctx context.Context, m *Image, off, n int64) error {
	first, end := o.blocks(off, n)
	flights := o.join(m, first, end)
	o.table.quiet.add(1)
	defer o.table.quiet.add(-1)
	defer o.leave(flights)
	for _, f := range flights {
		select {
		case <-f.done:
			if f.err != nil {
				return f.err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if o.file.Load() == nil {
		return fmt.Errorf("%s: the store has no file of it", o.digest)
	}
	return nil
}

// join finds the flights of all missing blocks, and begins those that nobody
// began.
func (o *object) join(m *Image, first, end int) (flights []*flight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for b := o.have.NextClear(first); b < end; b = o.have.NextClear(b) {
		f := o.flights[b]
		if f == nil {
			f = o.begin(m, b, end)
		}
		f.waiters++
		flights = append(flights, f)
		b = f.end
	}
	return flights
}

// begin starts a flight for the run of missing blocks from first on that nobody
// fetches. o.mu is held.
func (o *object) begin(m *Image, first, end int) *flight {
	f := &flight{first: first, end: first, image: m, done: make(chan struct{}), left: make(chan struct{})}
	for ; f.end < end && !o.have.Has(f.end) && o.flights[f.end] == nil; f.end++ {
		o.flights[f.end] = f
	}
	o.table.runs.Go(func() {
		f.err = o.fly(f)
		o.mu.Lock()
		for b := f.first; b < f.end; b++ {
			if o.flights[b] == f {
				delete(o.flights, b)
			}
		}
		o.mu.Unlock()
		close(f.done)
	})
	return f
}

// leave takes a reader off its flights. A flight that nobody waits for ends at
// its first failure, and later readers begin another.
func (o *object) leave(flights []*flight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range flights {
		if f.waiters--; f.waiters > 0 {
			continue
		}
		close(f.left)
		for b := f.first; b < f.end; b++ {
			if o.flights[b] == f {
				delete(o.flights, b)
			}
		}
	}
}

// fly brings a flight's blocks, and does not give up while somebody waits.
func (o *object) fly(f *flight) error {
	for pause := o.table.cfg.Backoff; ; pause = min(2*pause, o.table.cfg.BackoffLimit) {
		err := o.attempt(f)
		if err == nil || errors.Is(err, ErrReplaced) {
			return err
		}
		o.table.log.Debug("bytes that a read waits for", "object", o.digest.String(), "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
			continue
		case <-f.left:
		case <-o.table.ctx.Done():
		}
		timer.Stop()
		return err
	}
}

// attempt asks the peer, and looks at the disk itself if the peer is away.
func (o *object) attempt(f *flight) error {
	if o.table.away.Load() && o.prove(f.image, f.first, f.end) {
		return nil
	}
	ctx, cancel := context.WithTimeout(o.table.ctx, o.table.cfg.Attempt)
	defer cancel()
	select {
	case o.table.demand <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := o.ask(ctx, f.image, f.first, f.end, byDemand)
	<-o.table.demand
	switch {
	case err == nil:
		return nil
	case o.prove(f.image, f.first, f.end):
		return nil
	case errors.Is(err, nodeapi.ErrAbsent):
		return errors.Join(err, f.image.reopen(ctx))
	}
	return err
}
