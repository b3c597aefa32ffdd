package diskstore

import (
	"errors"

	"github.com/shoal-project/shoal/chunk"
)

// Ingest implements chunk.Store.
func (s *Store) Ingest(size int64) (chunk.Ingest, error) { return nil, errors.ErrUnsupported }
