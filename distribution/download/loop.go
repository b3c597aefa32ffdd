package download

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

const (
	// tick is how often a loop looks for stalls when nothing else wakes it.
	tick = 50 * time.Millisecond
	// breath is how long a member's loop gathers events before it looks again:
	// weighing all neighbours' blocks for each single event would cost more CPU
	// than it gains.
	breath = 2 * time.Millisecond
)

// run is a task's loop: from finding the object to having it, and telling about
// it on the way. It ends when the task is done or failed, or nobody wants it.
func (t *task) run(ctx context.Context) {
	defer t.loopEnded()
	if err := t.prepare(ctx); err != nil {
		t.fail(err, false)
		return
	}
	t.mu.Lock()
	small := t.small
	t.mu.Unlock()
	if err := t.fillZeros(); err != nil {
		t.fail(err, false)
		return
	}
	if small {
		if err := t.fetchSmall(ctx); err != nil {
			t.fail(err, errors.Is(err, ErrWhole))
		}
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	for {
		select {
		case <-ctx.Done():
			t.fail(errStopped, false)
			return
		case <-t.wake:
		case <-timer.C:
		}
		now := time.Now()
		t.forgive(now.Sub(due), now)
		again, wait := t.step(now)
		if !again {
			return
		}
		due = now.Add(wait)
		if err := t.breathe(ctx); err != nil {
			continue
		}
		timer.Reset(wait)
	}
}

// breathe lets events gather in a member's loop.
func (t *task) breathe(ctx context.Context) error {
	t.mu.Lock()
	member := t.member
	t.mu.Unlock()
	if !member {
		return nil
	}
	select {
	case <-time.After(breath):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// step does one round of the loop; false ends it.
func (t *task) step(now time.Time) (again bool, wait time.Duration) {
	t.mu.Lock()
	t.watch(now)
	t.schedule(now)
	again = t.state == fetching
	if t.reading == 0 && now.Sub(t.idle) > t.e.cfg.Linger {
		again = false
		for f := range t.fetches {
			f.cancel(errSuperseded)
		}
	}
	wait = t.pause()
	due := !t.news.due.IsZero() && !now.Before(t.news.due)
	if !t.news.due.IsZero() {
		wait = min(wait, max(t.news.due.Sub(now), time.Millisecond))
	}
	leave := !again && t.member && t.joined
	keeps := t.state == done
	members := t.neighbours()
	t.mu.Unlock()

	if due || !again {
		t.e.gossip(!again)
	}
	if leave {
		t.e.tell(&distribution.Leave{Object: t.id, Keeps: keeps})
		if !keeps {
			t.e.spread(members, &distribution.Leave{Object: t.id})
		}
	}
	return again, wait
}

// loopEnded lets a later reader start another loop.
func (t *task) loopEnded() {
	t.mu.Lock()
	t.looping = false
	if t.member {
		t.member, t.joined, t.orphan, t.origin = false, false, false, false
		clear(t.links)
	}
	again := t.state == fetching && t.reading > 0 && t.e.ctx.Err() == nil
	if again {
		t.e.begin(t)
	}
	blob := t.blob
	if !again {
		t.blob = nil
	}
	t.mu.Unlock()
	if blob != nil && !again {
		_ = blob.Close()
	}
	t.e.sweep(t)
}

// watch acts on what takes too long. Callers hold mu.
func (t *task) watch(now time.Time) {
	if t.state != fetching {
		return
	}
	t.watchFetches(now)
	if !t.complete.IsZero() {
		t.watchSeal(now)
		return
	}
	if t.derived {
		t.watchDerived(now)
		return
	}
	if t.origin || !t.member && !t.led {
		return
	}
	patience, why := t.e.cfg.LastResort, "no progress in the swarm"
	if t.orphan {
		patience, why = t.e.cfg.LastResort/4, "the supernode is away"
	}
	if t.stuck(patience, now) && t.reading > 0 {
		t.origin = true
		t.fallback(why)
	}
}

// watchSeal lets a member that has everything, but no seal, digest the whole
// itself: at once where peers fetch from the origin, else after a while.
func (t *task) watchSeal(now time.Time) {
	patience := t.e.cfg.LastResort
	if t.orphan || t.spread {
		patience = 0
	}
	if !t.member || t.hashing || now.Sub(t.complete) < patience {
		return
	}
	t.hash()
}

// hash starts digesting the whole. Callers hold mu.
func (t *task) hash() {
	if t.hashing {
		return
	}
	t.hashing = true
	t.e.group.Go(func() error {
		err := t.hashWhole(t.e.ctx)
		t.mu.Lock()
		t.hashing = false
		retry := errors.Is(err, ErrWhole) && t.member && !t.voided && t.list == nil
		if retry {
			t.voided, t.member, t.origin = true, false, true
			t.fallback("the swarm's bytes did not match the whole digest")
			t.void()
			t.hash()
		}
		ended := t.state == done || t.state == failed
		t.mu.Unlock()
		if err != nil && !retry && !ended {
			t.fail(err, errors.Is(err, ErrWhole))
		}
		t.poke()
		t.e.sweep(t)
		return nil
	})
}

// fallback notes that the object leaves the swarm's way. Callers hold mu.
func (t *task) fallback(why string) {
	t.story.note("to the origin: " + why)
	t.e.metrics.Fallbacks.WithLabelValues(why).Inc()
	t.log.Info("going to the origin", "reason", why)
}

// prepare finds out the object's size and who fetches it.
func (t *task) prepare(ctx context.Context) error {
	t.mu.Lock()
	attached, known, derived := t.obj != nil, t.joined && !(t.derived && t.orphan) || t.origin || t.led, t.derived
	t.mu.Unlock()
	if !attached {
		if err := t.fromStore(); err != nil {
			return err
		}
	}
	if t.whole() {
		return nil
	}
	if !known {
		join := t.e.join
		if derived {
			join = t.e.joinDerived
		}
		if err := join(ctx, t); err != nil {
			return err
		}
	}
	t.mu.Lock()
	alone, unknown := !t.member && !t.led, t.list == nil && !t.sure
	t.mu.Unlock()
	if t.leads() {
		return nil
	}
	if alone && derived {
		return fmt.Errorf("%s: %w", t.id, ErrAbsent)
	}
	if alone {
		if err := t.becomeAuthority(ctx, unknown); err != nil {
			return err
		}
	}
	return nil
}

// leads tells a task that takes its blocks from the members of the swarm that
// this node coordinates, and starts to digest the whole.
func (t *task) leads() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.led && t.list == nil {
		t.hash()
	}
	return t.led
}

func (t *task) whole() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state == done
}

// fromStore takes up what the store has of the object.
func (t *task) fromStore() error {
	obj, err := t.e.deps.Store.Open(t.id)
	if errors.Is(err, chunk.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.attach(obj)
	return nil
}

// sized takes the object's size on good authority. Callers do not hold mu.
func (t *task) sized(size int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sure = true
	if t.obj != nil && t.size == size {
		return nil
	}
	if t.obj != nil {
		// What an earlier, unsealed attempt believed gives way.
		_ = t.obj.Close()
		t.obj = nil
	}
	obj, err := t.e.deps.Store.Create(t.id, size)
	if err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	t.attach(obj)
	return nil
}

// becomeAuthority prepares to take everything from the origin.
func (t *task) becomeAuthority(ctx context.Context, unknown bool) error {
	if unknown {
		blob, err := t.originBlob(ctx)
		if err != nil {
			return err
		}
		if err := t.sized(blob.Size()); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.origin = true
	t.small = t.size <= chunk.Size
	if !t.small && t.state == fetching && t.list == nil {
		t.hash()
	}
	t.signal()
	return nil
}
