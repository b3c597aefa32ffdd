package simulation

import (
	"context"
	"sync"
	"time"
)

// link is one direction of a host's cable: bytes queue in it, first come, first
// served.
type link struct {
	mu   sync.Mutex
	rate float64 // bytes a second; 0 is without limit
	free time.Time
}

// reserve queues n bytes and says when the last of them is through.
func (l *link) reserve(n int, now time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate == 0 {
		return now
	}
	start := now
	if l.free.After(start) {
		start = l.free
	}
	l.free = start.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	return l.free
}

// carry moves n bytes from one link through another, in pieces small enough
// that flows share them fairly.
func carry(ctx context.Context, up, down *link, n int) error {
	const piece = 16 << 10
	for n > 0 {
		k := min(n, piece)
		n -= k
		now := time.Now()
		at := up.reserve(k, now)
		if d := down.reserve(k, now); d.After(at) {
			at = d
		}
		if wait := at.Sub(now); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}
