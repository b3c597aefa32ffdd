package diskstore

import (
	"context"
	"slices"

	"github.com/shoal-project/shoal/chunk"
)

// freedForRetry is how much is evicted when the disk itself says that it is
// full, before a write is tried once more.
const freedForRetry = 64 << 20

// reserve takes n bytes of the room there is, making room if need be. first
// says that they begin a chunk: then the disk is looked at too.
func (s *Store) reserve(n int64, first bool) error {
	total := s.charge(n)
	if quota := s.cfg.Quota; quota > 0 && total > quota {
		s.makeRoom(s.belowLow)
		if s.bytes.Load() > quota {
			return s.refuse(n)
		}
	} else if first && s.aboveHigh() {
		kick(s.evictNow)
	}
	if first && !s.enoughFree() {
		s.makeRoom(s.enoughFree)
		if !s.enoughFree() {
			return s.refuse(n)
		}
	}
	return nil
}

// refuse takes a reservation back.
func (s *Store) refuse(n int64) error {
	s.charge(-n)
	s.metrics.refused.Inc()
	return chunk.ErrFull
}

func (s *Store) aboveHigh() bool {
	return s.cfg.Quota > 0 && float64(s.bytes.Load()) > s.cfg.HighWatermark*float64(s.cfg.Quota)
}

func (s *Store) belowLow() bool {
	return float64(s.bytes.Load()) <= s.cfg.LowWatermark*float64(s.cfg.Quota)
}

// enoughFree tells whether the file system's floor is kept. What the system
// does not tell counts as enough.
func (s *Store) enoughFree() bool {
	if s.cfg.MinFree == 0 {
		return true
	}
	free, err := s.free()
	return err != nil || free < 0 || free >= s.cfg.MinFree
}

// evictLoop keeps the store below its high watermark until ctx ends.
func (s *Store) evictLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.evictNow:
		}
		if s.aboveHigh() {
			s.makeRoom(s.belowLow)
		}
	}
}

// makeRoom evicts unused objects, the least recently used first, until it is
// enough or there are none.
func (s *Store) makeRoom(enough func() bool) {
	evicted := s.evictUntil(enough)
	if s.cfg.OnEvict == nil {
		return
	}
	for _, d := range evicted {
		s.cfg.OnEvict(d)
	}
}

func (s *Store) evictUntil(enough func() bool) (evicted []chunk.Digest) {
	s.evictMu.Lock()
	defer s.evictMu.Unlock()
	if enough() {
		return nil
	}
	for _, o := range s.idleByAge() {
		if s.closed.Load() || enough() {
			break
		}
		if s.evict(o) {
			evicted = append(evicted, o.digest)
		}
	}
	return evicted
}

// idleByAge is every object that nobody uses, the least recently used first.
func (s *Store) idleByAge() []*object {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := make([]*object, 0, len(s.objects))
	for _, o := range s.objects {
		if s.idle(o) {
			idle = append(idle, o)
		}
	}
	slices.SortFunc(idle, func(a, b *object) int { return a.used.Compare(b.used) })
	return idle
}

// idle tells whether o may be evicted. The lock is held.
func (s *Store) idle(o *object) bool {
	return o.handles == 0 && !o.removing && !s.pinned.has(o.digest)
}

// evict removes o unless somebody took it into use meanwhile.
func (s *Store) evict(o *object) bool {
	s.mu.Lock()
	idle := s.idle(o)
	o.removing = o.removing || idle
	s.mu.Unlock()
	if !idle {
		return false
	}
	freed, _ := o.discard() // discard logs what fails; the object is gone for us
	s.evicted.Add(freed)
	s.metrics.evictedBytes.Add(float64(freed))
	s.metrics.evictedObjects.Inc()
	s.log.Info("evicted an object to make room", "object", o.digest, "bytes", freed)
	return true
}

// afterNoRoom evicts something after the disk said that it is full, and tells
// whether that helped.
func (s *Store) afterNoRoom() bool {
	before := s.evicted.Load()
	s.makeRoom(func() bool { return s.evicted.Load()-before >= freedForRetry })
	return s.evicted.Load() > before
}
