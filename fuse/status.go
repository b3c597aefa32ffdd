//go:build linux

package fuse

import (
	"slices"
	"sync"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// Status is what an image did so far, and what it waits for now.
type Status struct {
	Opens  int64 // of files
	Reads  int64 // requests of the kernel; neither cached nor passthrough reads
	Bytes  int64 // given by those
	Errors int64
	Waits  []Wait // oldest first
}

// Wait is a read that waits for bytes.
type Wait struct {
	Object         chunk.Digest
	Offset, Length int64
	Since          time.Time
	Reason         string // why it was not had so far; empty at first
}

// Status tells what the image did and waits for.
func (im *Image) Status() Status {
	return Status{
		Opens: im.opens.Load(), Reads: im.reads.Load(), Bytes: im.served.Load(), Errors: im.errors.Load(),
		Waits: im.waits.snapshot(),
	}
}

// waitList has the reads that wait, by address.
type waitList struct {
	mu   sync.Mutex
	open map[*Wait]struct{}
}

func (l *waitList) add(w *Wait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[*Wait]struct{}{}
	}
	l.open[w] = struct{}{}
}

func (l *waitList) explain(w *Wait, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.Reason = reason
}

func (l *waitList) remove(w *Wait) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, w)
}

func (l *waitList) snapshot() []Wait {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Wait, 0, len(l.open))
	for w := range l.open {
		all = append(all, *w)
	}
	slices.SortFunc(all, func(a, b Wait) int { return a.Since.Compare(b.Since) })
	return all
}
