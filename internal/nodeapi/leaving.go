package nodeapi

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// leavingTick is how often what was in use is tried again. A download keeps its
// object in use for half a minute after its last reader.
const leavingTick = time.Second

// leaving are objects whose last pin went while they were in use: they are removed
// as soon as they are not, unless something pins them again. A process that ends
// forgets them; then they go when the store needs room.
type leaving struct {
	mu      sync.Mutex
	objects map[chunk.Digest]bool
}

func (l *leaving) add(d chunk.Digest) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.objects == nil {
		l.objects = map[chunk.Digest]bool{}
	}
	l.objects[d] = true
}

// take gives all, which are not leaving any more.
func (l *leaving) take() map[chunk.Digest]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.objects
	l.objects = nil
	return all
}

// Run removes what was to be freed while it was in use, until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	ticker := time.NewTicker(leavingTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			s.free(s.leaving.take())
		}
	}
}

// free removes objects that no pin keeps; those in use leave later.
func (s *Server) free(objects map[chunk.Digest]bool) {
	if len(objects) == 0 {
		return
	}
	for _, kept := range s.Store.Pins() {
		for _, d := range kept {
			delete(objects, d)
		}
	}
	for d := range objects {
		err := s.Store.Remove(d)
		switch {
		case err == nil && s.Freed != nil:
			s.Freed(d)
		case errors.Is(err, chunk.ErrInUse):
			s.leaving.add(d)
		}
	}
}
