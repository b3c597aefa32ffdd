package testregistry

import (
	"context"
	"net/http"
	"sync"
)

// Gate holds back the bodies of blobs: it lets a budget of bytes through, of all
// answers together, and then stops them until the budget grows.
type Gate struct {
	mu      sync.Mutex
	budget  int64         // guarded by mu; what may still pass
	open    bool          // guarded by mu; everything passes
	sent    int64         // guarded by mu
	changed chan struct{} // guarded by mu; closed at each change
}

// NewGate lets budget bytes through.
func NewGate(budget int64) *Gate { return &Gate{budget: budget, changed: make(chan struct{})} }

// Allow lets n bytes more through.
func (g *Gate) Allow(n int64) { g.change(func() { g.budget += n }) }

// Open lets everything through from now on.
func (g *Gate) Open() { g.change(func() { g.open = true }) }

// Sent is how many bytes have passed.
func (g *Gate) Sent() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sent
}

func (g *Gate) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
	g.broadcast()
}

// broadcast wakes all waiters. g.mu is held.
func (g *Gate) broadcast() {
	close(g.changed)
	g.changed = make(chan struct{})
}

// AwaitSent returns when at least n bytes have passed.
func (g *Gate) AwaitSent(ctx context.Context, n int64) error {
	for {
		g.mu.Lock()
		sent, changed := g.sent, g.changed
		g.mu.Unlock()
		if sent >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take waits for a share of at most n bytes and takes it.
func (g *Gate) take(ctx context.Context, n int64) (int64, error) {
	for {
		g.mu.Lock()
		if share := g.share(n); share > 0 {
			g.sent += share
			g.broadcast()
			g.mu.Unlock()
			return share, nil
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// share takes from the budget. g.mu is held.
func (g *Gate) share(n int64) int64 {
	if g.open {
		return n
	}
	n = min(n, g.budget)
	g.budget -= n
	return n
}

// Wrap puts the gate before a registry.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && blobPath.MatchString(r.URL.Path) {
			w = &gatedWriter{ResponseWriter: w, ctx: r.Context(), gate: g}
		}
		next.ServeHTTP(w, r)
	})
}

// gatedWriter hides the connection's ReadFrom, so that every byte is counted
// before it leaves, and flushes, so that what has passed does leave.
type gatedWriter struct {
	http.ResponseWriter
	ctx  context.Context
	gate *Gate
}

func (w *gatedWriter) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n, err := w.gate.take(w.ctx, int64(len(p)-written))
		if err != nil {
			return written, err
		}
		m, err := w.ResponseWriter.Write(p[written : written+int(n)])
		written += m
		if err != nil {
			return written, err
		}
		if err := http.NewResponseController(w.ResponseWriter).Flush(); err != nil {
			return written, err
		}
	}
	return written, nil
}
