package memstore

import (
	"fmt"
	"slices"

	"github.com/shoal-project/shoal/chunk"
)

// Pin implements chunk.Store.
func (s *Store) Pin(name string, objects []chunk.Digest) error {
	if err := chunk.CheckPin(name, len(objects)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return chunk.ErrClosed
	}
	if _, ok := s.pins[name]; !ok && len(s.pins) >= chunk.MaxPins {
		return fmt.Errorf("%w: there are %d", chunk.ErrPin, len(s.pins))
	}
	s.unpin(name)
	s.pins[name] = slices.Clone(objects)
	for _, d := range objects {
		s.pinned[d]++
	}
	return nil
}

// Unpin implements chunk.Store.
func (s *Store) Unpin(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return chunk.ErrClosed
	}
	s.unpin(name)
	return nil
}

// unpin forgets a pin. The lock is held.
func (s *Store) unpin(name string) {
	for _, d := range s.pins[name] {
		if s.pinned[d]--; s.pinned[d] == 0 {
			delete(s.pinned, d)
		}
	}
	delete(s.pins, name)
}

// Pins implements chunk.Store.
func (s *Store) Pins() map[string][]chunk.Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	pins := make(map[string][]chunk.Digest, len(s.pins))
	for name, objects := range s.pins {
		pins[name] = slices.Clone(objects)
	}
	return pins
}
