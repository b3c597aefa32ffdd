package diskstore

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/persist"
)

// Pin implements chunk.Store. From its beginning neither what the name pinned
// before nor what it is to pin can be evicted.
func (s *Store) Pin(name string, objects []chunk.Digest) error {
	if err := chunk.CheckPin(name, len(objects)); err != nil {
		return err
	}
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	objects = slices.Clone(objects)
	before, had, err := s.beginPin(name, objects)
	if err != nil {
		return fmt.Errorf("pin %s: %w", name, err)
	}
	err = s.writePin(name, objects)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.pinned.remove(objects)
		return fmt.Errorf("pin %s: %w", name, diskError(err))
	}
	if had {
		s.pinned.remove(before)
	}
	s.pins[name] = objects
	return nil
}

// beginPin counts a pin's objects and gives what the name pinned until now.
func (s *Store) beginPin(name string, objects []chunk.Digest) (before []chunk.Digest, had bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, had = s.pins[name]
	switch {
	case s.closed.Load():
		return nil, false, chunk.ErrClosed
	case !had && len(s.pins) >= chunk.MaxPins:
		return nil, false, fmt.Errorf("%w: there are %d", chunk.ErrPin, len(s.pins))
	}
	s.pinned.add(objects)
	return before, had, nil
}

// pinned counts by how many pins each object is kept. It is asked under the locks
// of a store and of its objects, and takes no other.
type pinned struct {
	mu    sync.RWMutex
	count map[chunk.Digest]int
}

func (p *pinned) has(d chunk.Digest) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.count[d] > 0
}

// add and remove count one pin more or fewer.
func (p *pinned) add(objects []chunk.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range objects {
		p.count[d]++
	}
}

func (p *pinned) remove(objects []chunk.Digest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range objects {
		if p.count[d]--; p.count[d] == 0 {
			delete(p.count, d)
		}
	}
}

// Unpin implements chunk.Store.
func (s *Store) Unpin(name string) error {
	s.pinMu.Lock()
	defer s.pinMu.Unlock()
	s.mu.Lock()
	_, had := s.pins[name]
	closed := s.closed.Load()
	s.mu.Unlock()
	if closed {
		return chunk.ErrClosed
	}
	if !had {
		return nil
	}
	dir := filepath.Join(s.dir, pinsName)
	if err := errors.Join(removeFile(filepath.Join(dir, name+pinSuffix)), persist.SyncDir(dir)); err != nil {
		return fmt.Errorf("unpin %s: %w", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinned.remove(s.pins[name])
	delete(s.pins, name)
	return nil
}

// Pins implements chunk.Store.
func (s *Store) Pins() map[string][]chunk.Digest {
	s.mu.Lock()
	pins := maps.Clone(s.pins)
	s.mu.Unlock()
	for name, objects := range pins { // a pin's objects never change
		pins[name] = slices.Clone(objects)
	}
	return pins
}

// writePin replaces a pin's file, durably.
func (s *Store) writePin(name string, objects []chunk.Digest) error {
	dir := filepath.Join(s.dir, pinsName)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = persist.SyncDir(s.dir)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return persist.Replace(filepath.Join(dir, name+pinSuffix), filepath.Join(dir, "pin-*"+tempSuffix), encodePin(objects))
}
