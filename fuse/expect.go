//go:build linux

package fuse

import (
	"maps"
	"time"
)

// expected are images that are to come, by id: what asks for them waits instead of
// failing. The kernel may know them from the life of an earlier process.
type expected map[uint32]expectation

type expectation struct {
	name string
	came chan struct{} // closed when it is there, or will not come
}

// Expect announces an image that will be added with the same id and name, or given
// up by [FS.Unexpect]. Requests for it wait until then, up to [Config].Deadline.
func (f *FS) Expect(id uint32, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.image(id) == nil && (*f.expected.Load())[id].came == nil {
		f.expect(func(next expected) { next[id] = expectation{name, make(chan struct{})} })
	}
}

// Unexpect lets requests for an image fail, unless it has come.
func (f *FS) Unexpect(id uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.arrived(id)
}

// arrived lets go who waits for an image. f.mu is held.
func (f *FS) arrived(id uint32) {
	if e, ok := (*f.expected.Load())[id]; ok {
		f.expect(func(next expected) { delete(next, id) })
		close(e.came)
	}
}

// expect changes a copy. f.mu is held.
func (f *FS) expect(change func(expected)) {
	next := maps.Clone(*f.expected.Load())
	change(next)
	f.expected.Store(&next)
}

// await is the image of an id, which may have to come first; nil if there is none.
func (f *FS) await(id uint32) *Image {
	if im := f.image(id); im != nil {
		return im
	}
	e, ok := (*f.expected.Load())[id]
	if ok {
		f.wait(e)
	}
	return f.image(id) // which may have come meanwhile
}

// awaitNamed is await by name.
func (f *FS) awaitNamed(name string) *Image {
	for _, e := range *f.expected.Load() {
		if e.name == name {
			f.wait(e)
		}
	}
	return f.named(name)
}

// deadEvery is how often somebody who waits for an image looks whether anybody
// waits for the answer.
const deadEvery = time.Second

func (f *FS) wait(e expectation) {
	deadline := time.NewTimer(f.cfg.Deadline)
	defer deadline.Stop()
	look := time.NewTicker(deadEvery)
	defer look.Stop()
	for !f.conn.dead() {
		select {
		case <-e.came:
			return
		case <-deadline.C:
			return
		case <-look.C:
		}
	}
}
