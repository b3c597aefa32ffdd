package download

import (
	"sync"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// demand is who waits for bytes, in all objects, and what comes that nobody waits
// for. Its mu is taken after a task's.
type demand struct {
	mu      sync.Mutex
	waiting int
	moved   time.Time     // when one last got what it waited for, or began to wait alone
	ended   time.Time     // when one last got what it waited for
	flying  int           // runs that nobody waits for
	held    map[*task]int // readers that give way, by task
}

// wait books a reader of a task that waits for bytes; the function ends it, and is
// told whether they came.
func (d *demand) wait(t *task, p distribution.Priority) (ended func(got bool)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p == distribution.Demand {
		if d.waiting++; d.waiting == 1 {
			d.moved = time.Now()
		}
		return d.waited
	}
	d.held[t]++
	return func(bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.held[t]--; d.held[t] == 0 {
			delete(d.held, t)
		}
	}
}

func (d *demand) waited(got bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.waiting--
	if got {
		d.ended = time.Now()
		d.moved = d.ended
	}
	d.wake()
}

// behind books runs that nobody waits for.
func (d *demand) behind(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.flying += n; n < 0 {
		d.wake()
	}
}

// wake has those look again that had to give way. The mutex is held.
func (d *demand) wake() {
	for t := range d.held {
		t.poke()
	}
}

// respite is how long after a wait what is not demanded still keeps small: a
// program that starts reads one file after the other, and thinks in between.
const respite = time.Second

// inVain is how long all who wait may get nothing before the rest goes on beside
// them: what nobody has must not keep away what somebody has.
const inVain = 5 * time.Second

// mayStart tells whether a run of a part may start that has this priority. While
// somebody waits, and shortly after, a few runs keep the link from idling; more
// would stand in the way of the next read.
func (d *demand) mayStart(p distribution.Priority, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	busy := d.waiting > 0 && now.Sub(d.moved) < inVain
	lately := busy || now.Sub(d.ended) < respite
	switch {
	case p == distribution.Demand || !lately:
		return true
	case p == distribution.Ahead:
		return d.flying < 2 || !busy && d.flying < 4
	}
	return !busy && d.flying == 0
}
