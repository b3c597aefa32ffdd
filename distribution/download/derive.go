package download

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

// ErrAbsent says that an object that no origin has is in no store that can be
// asked now.
var ErrAbsent = errors.New("neither the supernode nor a neighbour has the object")

// errAlone says that there is no supernode to derive trees.
var errAlone = errors.New("this node has no supernode")

// deriving is a request for an image's tree that waits for its answer.
type deriving struct {
	request distribution.Derive
	tell    func(done, total int64)
	answer  chan *distribution.Derived // room for one
}

// Derive has the supernode make an image's tree and returns the binding, in
// binary form and not verified. It outlives lost sessions: the next supernode is
// asked again. Tell hears how far it is, in bytes of blobs.
func (e *Engine) Derive(ctx context.Context, src distribution.Source, view distribution.View, tell func(done, total int64)) ([]byte, error) {
	if e.deps.Supernode == nil {
		return nil, errAlone
	}
	if src.Authorization == distribution.NodeCredentials {
		src.Authorization = ""
		if e.deps.Own != nil {
			src.Authorization = e.deps.Own(ctx, src.Registry)
		}
	}
	d := &deriving{tell: tell, answer: make(chan *distribution.Derived, 1), request: distribution.Derive{
		Registry: src.Registry, Repository: src.Repository, Authorization: src.Authorization, Layers: view.Layers, Lower: view.Lower,
	}}
	if err := d.request.Validate(); err != nil {
		return nil, err
	}
	e.await(d)
	defer e.forgo(d)
	e.tell(&d.request)
	select {
	case answer := <-d.answer:
		if answer.Binding == nil {
			return nil, refused(answer)
		}
		return answer.Binding, nil
	case <-ctx.Done():
		if _, ok := e.Connected(); !ok {
			return nil, fmt.Errorf("no supernode answers: %w", context.Cause(ctx))
		}
		return nil, context.Cause(ctx)
	case <-e.ctx.Done():
		return nil, errStopped
	}
}

func refused(answer *distribution.Derived) error {
	if answer.Status != 0 {
		return &distribution.OriginError{Status: answer.Status, Message: answer.Message}
	}
	return fmt.Errorf("the supernode cannot serve the image lazily: %s", answer.Message)
}

func (e *Engine) await(d *deriving) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lastDerive++
	d.request.ID = e.lastDerive
	e.deriving[d.request.ID] = d
}

func (e *Engine) forgo(d *deriving) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.deriving, d.request.ID)
}

// deriveAgain repeats, to a new supernode, what the last one did not answer.
func (e *Engine) deriveAgain(s *session) {
	e.mu.Lock()
	requests := make([]*distribution.Derive, 0, len(e.deriving))
	for _, d := range e.deriving {
		requests = append(requests, &d.request)
	}
	e.mu.Unlock()
	for _, r := range requests {
		e.send(s.conn, r)
	}
}

func (e *Engine) onDeriving(m *distribution.Deriving) {
	e.mu.Lock()
	d := e.deriving[m.ID]
	e.mu.Unlock()
	if d != nil {
		d.tell(m.Done, m.Total)
	}
}

func (e *Engine) onDerived(m *distribution.Derived) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := e.deriving[m.ID]; d != nil {
		delete(e.deriving, m.ID)
		d.answer <- m
	}
}

// errAgain ends a wait after which the acquaintances are asked again.
var errAgain = errors.New("nobody answered in time")

// joinDerived lets a task into the swarm of an object that no origin has. While
// no supernode answers it seeks nodes that have it, as long as somebody reads.
func (e *Engine) joinDerived(ctx context.Context, t *task) error {
	if e.deps.Supernode == nil {
		return fmt.Errorf("%s: %w", t.id, ErrAbsent)
	}
	e.mu.Lock()
	s := e.session
	e.mu.Unlock()
	if s != nil {
		t.rejoin(s)
	}
	// A session that comes later sends the Want by itself.
	err := errAgain
	for errors.Is(err, errAgain) {
		err = e.seekOnce(ctx, t)
	}
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.in():
		return nil
	case t.refusal != "":
		return fmt.Errorf("%s: %w: %s", t.id, ErrAbsent, t.refusal)
	}
	return fmt.Errorf("%s: %w: %s", t.id, ErrAbsent, t.unanswered())
}

// in tells whether the task of an object that no origin has can go on. Callers
// hold mu.
func (t *task) in() bool { return t.joined && !t.orphan || t.among() }

// seekOnce waits until the task can go on, or nobody wants that any more; after a
// while, and when the supernode goes away, it ends with errAgain.
func (e *Engine) seekOnce(ctx context.Context, t *task) error {
	_, connected := e.Connected()
	t.mu.Lock()
	before := t.orphan
	if !connected {
		t.seek(time.Now())
	}
	t.mu.Unlock()
	wait, cancel := context.WithTimeoutCause(ctx, e.cfg.LastResort/4, errAgain)
	defer cancel()
	left := false
	err := t.await(wait, func() bool {
		settled := t.in() || t.refusal != "" || t.reading == 0
		left = !settled && t.orphan && !before
		return settled || left
	})
	if err == nil && left {
		return errAgain
	}
	return err
}

// watchDerived gives an object up of which somebody waits for a part that no node
// has any more: opening the image again has it made anew. Callers hold mu.
func (t *task) watchDerived(now time.Time) {
	if t.orphan {
		t.seekMore(now)
		return
	}
	if !t.member || len(t.fetches) > 0 || !t.stuck(t.e.cfg.LastResort, now) {
		return
	}
	for _, s := range t.wanted(distribution.Demand) {
		for b := int(s.First); b < s.End(); b++ {
			if t.here(b) || t.offered(b, now) {
				continue
			}
			t.giveUp(fmt.Sprintf("nobody has block %d any more", b))
			return
		}
	}
}

// giveUp ends the task of an object that no origin has. Callers hold mu.
func (t *task) giveUp(why string) {
	t.e.group.Go(func() error {
		t.fail(fmt.Errorf("%s: %w: %s", t.id, ErrAbsent, why), false)
		return nil
	})
}
