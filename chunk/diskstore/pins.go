package diskstore

import (
	"errors"

	"github.com/shoal-project/shoal/chunk"
)

// Pin implements chunk.Store.
func (s *Store) Pin(name string, objects []chunk.Digest) error { return errors.ErrUnsupported }

// Unpin implements chunk.Store.
func (s *Store) Unpin(name string) error { return errors.ErrUnsupported }

// Pins implements chunk.Store.
func (s *Store) Pins() map[string][]chunk.Digest { return nil }
