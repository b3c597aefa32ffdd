package origin

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// slots caps the requests and bodies that are open to one registry. A body that
// nobody reads just now may be parked: it keeps its slot and its connection
// until it is taken up again, was idle too long, or a request waits for a slot.
type slots struct {
	free    chan struct{}
	waiting atomic.Int32
	metrics *Metrics

	mu     sync.Mutex
	parked *list.List // of *parked that may be given up for a waiter, oldest first
}

func newSlots(n int, m *Metrics) *slots {
	s := &slots{free: make(chan struct{}, n), parked: list.New(), metrics: m}
	for range n {
		s.free <- struct{}{}
	}
	return s
}

func (s *slots) acquire(ctx context.Context) error {
	select {
	case <-s.free:
		s.metrics.connections.Inc()
		return nil
	default:
	}
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	s.reclaim()
	select {
	case <-s.free:
		s.metrics.connections.Inc()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *slots) release() {
	s.metrics.connections.Dec()
	s.free <- struct{}{}
}

// reclaim gives up the body that was parked longest and is not being taken up
// just now.
func (s *slots) reclaim() {
	for {
		s.mu.Lock()
		e := s.parked.Front()
		s.mu.Unlock()
		if e == nil || e.Value.(*parked).give() {
			return
		}
	}
}

// parked is a body that waits for its next reader.
type parked struct {
	slots *slots
	timer *time.Timer
	elem  *list.Element // nil if a waiter may not have it
	pos   int64         // where the body stands

	mu sync.Mutex
	b  *body // nil once taken or dropped
}

// park puts a body aside for at most idle. A yielding one is dropped as soon as
// a request waits for a slot: it costs one more request to get it back. One
// that does not yield would cost all bytes before its position.
func (s *slots) park(b *body, idle time.Duration, yields bool) *parked {
	p := &parked{slots: s, b: b, pos: b.pos}
	p.mu.Lock()
	p.timer = time.AfterFunc(idle, p.drop)
	if yields {
		s.mu.Lock()
		p.elem = s.parked.PushBack(p)
		s.mu.Unlock()
	}
	p.mu.Unlock()
	if yields && s.waiting.Load() > 0 {
		s.reclaim()
	}
	return p
}

// take gives the body back, or nil if it was dropped.
func (p *parked) take() *body {
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.b
	p.b = nil
	p.timer.Stop()
	if p.elem != nil {
		p.slots.mu.Lock()
		p.slots.parked.Remove(p.elem)
		p.slots.mu.Unlock()
	}
	return b
}

// give closes the body and tells whether it was still there.
func (p *parked) give() bool {
	b := p.take()
	if b == nil {
		return false
	}
	b.Close()
	return true
}

// drop is give for those who do not care.
func (p *parked) drop() { p.give() }
