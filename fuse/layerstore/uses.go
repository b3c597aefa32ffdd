//go:build linux

package layerstore

import (
	"errors"
	"fmt"
	"time"
)

// use counts one use more of a layer, by a process.
func (s *Store) use(n name, pid uint32) error {
	by, storage := processOf(pid), storageOf(pid)
	return s.change(n, func(r *record) {
		r.Uses = min(r.Uses+1, maxUses)
		r.remember(by, storage)
	})
}

// unuse counts one less.
func (s *Store) unuse(n name) error {
	return s.change(n, func(r *record) { r.Uses = max(r.Uses-1, 0) })
}

// change changes a record durably. What is not held any more has no uses.
func (s *Store) change(n name, edit func(*record)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.found[n]
	if f == nil {
		return fmt.Errorf("%w in use: %s of %s", ErrUnknown, n.Digest, n.Reference)
	}
	changed := *f.record
	edit(&changed)
	if err := s.records.save(&changed); err != nil {
		return err
	}
	f.record, f.touched = &changed, time.Now()
	return nil
}

// sweepEvery is how often layers are looked over.
const sweepEvery = 30 * time.Second

// sweep looks layers over until the store closes.
func (s *Store) sweep() {
	ticker := time.NewTicker(min(sweepEvery, max(s.cfg.Idle, time.Millisecond)))
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-ticker.C:
			if err := s.look(now); err != nil {
				s.log.Warn("letting go of layers that are not used", "error", err)
			}
		}
	}
}

// look counts uses anew where nobody came for long, and lets go of what is not
// used.
func (s *Store) look(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for n, f := range s.found {
		idle := now.Sub(f.touched)
		if f.record.Uses > 0 && idle >= s.cfg.Recount {
			errs = append(errs, s.recount(n, f, now))
		}
		if f.record.Uses == 0 && idle >= s.cfg.Idle {
			errs = append(errs, s.drop(n))
		}
	}
	return errors.Join(errs...)
}

// recount corrects the uses of a layer whose storages are all known: an engine
// that was killed, or whose storage was deleted, has not ended its uses. s.mu is
// held.
func (s *Store) recount(n name, f *found, now time.Time) error {
	f.touched = now
	changed := *f.record
	if !changed.settle() {
		return nil
	}
	if !changed.Strange {
		uses, err := referrers(changed.Storages, pathOf(n))
		if err != nil {
			return err
		}
		changed.Uses = min(uses, changed.Uses)
	}
	if changed.Uses == f.record.Uses && changed.Strange == f.record.Strange {
		return nil
	}
	s.log.Info("uses of a layer were counted anew", "image", n.Reference, "layer", n.Digest.String(), "before", f.record.Uses, "now", changed.Uses)
	if err := s.records.save(&changed); err != nil {
		return err
	}
	f.record = &changed
	return nil
}

// drop lets go of a layer. s.mu is held.
func (s *Store) drop(n name) error {
	if err := s.layers.Release(s.ctx, userOf(n)); err != nil {
		return err
	}
	delete(s.found, n)
	return s.records.remove(n)
}
