package diskstore

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// await queues chunk i, just put, for the next sync. o.mu is held.
func (o *object) await(i int) {
	o.pending = append(o.pending, i)
	s := o.store
	s.dirtyMu.Lock()
	s.dirty[o] = struct{}{}
	s.unsynced += chunk.Length(o.size, i)
	now := s.unsynced >= s.cfg.SyncBytes
	s.dirtyMu.Unlock()
	if now {
		kick(s.syncNow)
	}
}

// settled takes o off the queue, whatever is durable of it.
func (s *Store) settled(o *object) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dequeue(len(o.pending))
}

// dequeue takes the first n pending chunks off. o.mu is held.
func (o *object) dequeue(n int) {
	s := o.store
	s.dirtyMu.Lock()
	defer s.dirtyMu.Unlock()
	for _, i := range o.pending[:n] {
		s.unsynced -= chunk.Length(o.size, i)
	}
	o.pending = append([]int(nil), o.pending[n:]...)
	if len(o.pending) == 0 {
		delete(s.dirty, o)
	}
}

// recheck settles what a crash left in doubt, so that the listing is whole soon
// after the start, and then lets others believe it.
func (s *Store) recheck(unsure []*object) {
	all := true
	for _, o := range unsure {
		h, err := s.Open(o.digest)
		if err == nil {
			h.Close()
		}
		all = all && (err == nil || errors.Is(err, chunk.ErrNotFound))
	}
	if all && !s.closed.Load() {
		s.noteBoot()
	}
}

// syncLoop makes content durable by bytes and by time until ctx ends.
func (s *Store) syncLoop(ctx context.Context) {
	var tick <-chan time.Time
	if s.cfg.SyncInterval > 0 {
		ticker := time.NewTicker(s.cfg.SyncInterval)
		defer ticker.Stop()
		tick = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		case <-s.syncNow:
		}
		s.syncDirty(ctx)
	}
}

// syncDirty makes durable what is queued now.
func (s *Store) syncDirty(ctx context.Context) {
	s.dirtyMu.Lock()
	queue := make([]*object, 0, len(s.dirty))
	for o := range s.dirty {
		queue = append(queue, o)
	}
	s.dirtyMu.Unlock()
	for _, o := range queue {
		if ctx.Err() != nil {
			return
		}
		if err := o.sync(false); err == nil {
			o.settle()
		}
	}
}

// sync makes every chunk put before durable: its data first, then its mark. The
// marks themselves reach the disk when the kernel sees fit, or before sync
// returns if flush is set or the object is whole.
func (o *object) sync(flush bool) error {
	o.life.Lock()
	f, named := o.files, o.named
	o.life.Unlock()
	if f == nil {
		return nil
	}
	whole, err := o.syncChunks(f)
	if err != nil || (!flush && !whole) {
		return err
	}
	err = syncData(f.have)
	if err == nil && !named {
		err = syncNames(o.path)
	}
	if err != nil {
		return o.syncFailed(err)
	}
	o.life.Lock()
	o.named = true
	o.life.Unlock()
	return nil
}

// syncChunks makes the pending chunks durable and marks them so. It tells
// whether the object has all its chunks so now, and some only since this call.
func (o *object) syncChunks(f *files) (whole bool, err error) {
	for {
		o.mu.Lock()
		n, drops := len(o.pending), o.drops
		o.mu.Unlock()
		if n == 0 {
			return whole, nil
		}
		start := time.Now()
		if err := syncData(f.data); err != nil {
			return false, o.distrust(f, err)
		}
		o.store.metrics.syncs.Observe(time.Since(start).Seconds())
		done, err := o.markDurable(f, n, drops)
		if err != nil {
			return false, o.syncFailed(err)
		}
		if done {
			return o.whole(), nil
		}
	}
}

func (o *object) whole() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.present != nil && o.present.Full() && len(o.pending) == 0
}

// markDurable marks the first n pending chunks, whose data was just synced. It
// reports false, and marks nothing, if a chunk was dropped meanwhile: other
// bytes may have taken its place since.
func (o *object) markDurable(f *files, n int, drops uint64) (bool, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.drops != drops || len(o.pending) < n {
		return false, nil
	}
	var raw [sumsStride]byte
	for _, i := range o.pending[:n] {
		if !o.present.Has(i) {
			continue
		}
		sums, err := o.sums[i].AppendBinary(raw[:0])
		if err != nil {
			return false, err
		}
		b := mark{state: durable, holes: o.holes[i]}.encode(o.digest, i, sums)
		if _, err := f.have.WriteAt(b[:], markOffset(i)); err != nil {
			return false, err
		}
	}
	o.dequeue(n)
	return true, nil
}

// distrust forgets everything of o that is not durable: the disk refused bytes
// and the kernel does not say which, nor keeps them for another try.
func (o *object) distrust(f *files, cause error) error {
	if errors.Is(cause, os.ErrClosed) {
		return chunk.ErrClosed
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	var lost []int
	for _, i := range o.pending {
		if o.present.Has(i) {
			lost = append(lost, i)
		}
	}
	o.dequeue(len(o.pending))
	for i, mask := range o.touched {
		if mask != 0 {
			o.forgetBlocks(f, i)
		}
	}
	return errors.Join(o.syncFailed(cause), o.drop(f, lost))
}

// syncFailed reports that the disk failed.
func (o *object) syncFailed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return chunk.ErrClosed
	}
	o.store.metrics.syncFailures.Inc()
	o.store.log.Error("the disk failed to make content durable; check it", "object", o.digest, "error", err)
	return diskError(err)
}
