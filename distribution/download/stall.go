package download

import (
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// Slow is not dead. What is taken for dead is asked of another source, from an
// origin even, and so makes slow slower; so deadlines are no shorter than a few
// times what has been usual for the object, and bytes count as life.

const (
	// usualTimes is how much longer than usual may still be alive.
	usualTimes = 4
	// maxStalls bounds how many times its configured length a deadline may become.
	maxStalls = 10
)

// forgive takes time in which this process, or its machine, stood still off
// everybody's account: it says nothing about anybody that nothing was heard then.
func (t *task) forgive(gap time.Duration, now time.Time) {
	if gap < t.e.cfg.Stall/2 {
		return
	}
	later := func(at time.Time) time.Time { return distribution.Forgiven(at, gap, now) }
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress = later(t.progress)
	for f := range t.fetches {
		f.last, f.told = later(f.last), later(f.told)
		f.moved.Store(later(f.alive()).UnixNano())
	}
}

// paced books that a block came, and how long that took. Callers hold mu.
func (t *task) paced(f *fetch, now time.Time) {
	gap := now.Sub(f.last)
	f.last, f.told = now, now
	t.usual = max(t.usual, gap)
	t.usual += (gap - t.usual) / 16
}

// patience is a deadline stretched to what is usual. Callers hold mu.
func (t *task) patience(least time.Duration) time.Duration {
	return min(max(least, usualTimes*t.usual), maxStalls*least)
}

// alive tells when the fetch last brought anything. Callers hold mu.
func (f *fetch) alive() time.Time { return time.Unix(0, f.moved.Load()) }

// watchFetches ends those that bring nothing, and tells others of granted ones
// that are slower than they may expect. Callers hold mu.
func (t *task) watchFetches(now time.Time) {
	stall := t.patience(t.e.cfg.Stall)
	for f := range t.fetches {
		if f.link != nil && now.Sub(f.alive()) > stall {
			f.cancel(errStalled)
			continue
		}
		if !f.granted || now.Sub(f.told) < t.e.cfg.Stall/3 || !f.alive().After(f.told) {
			continue
		}
		f.told = now
		first := t.missing(int(f.run.First))
		if first < f.run.End() {
			t.news.coming = append(t.news.coming, distribution.Span{First: uint32(first), N: uint32(f.run.End() - first)})
			t.touch(t.e.cfg.Batch)
		}
	}
}

// stuck tells that no block has come for long; longer, while bytes come. Callers
// hold mu.
func (t *task) stuck(least time.Duration, now time.Time) bool {
	patience := t.patience(least)
	if now.Sub(t.progress) <= patience {
		return false
	}
	for f := range t.fetches {
		if now.Sub(f.alive()) <= patience && f.alive().After(f.started) {
			return now.Sub(t.progress) > maxStalls*least
		}
	}
	return true
}
