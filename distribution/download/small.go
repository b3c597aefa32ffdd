package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// fetchSmall takes an object of at most one chunk in one piece: from the
// supernode if this node is a member, else, or if that fails, from the origin;
// from whoever has it if no origin does. Nothing is given to anybody before the
// whole matched.
func (t *task) fetchSmall(ctx context.Context) error {
	t.mu.Lock()
	up, derived := t.supernodeLink(), t.derived && t.size > 0
	t.mu.Unlock()
	if derived {
		return t.smallFromNodes(ctx)
	}
	if err := t.e.acquireSmall(ctx); err != nil {
		return err
	}
	defer t.e.releaseSmall()
	if up != nil && t.size > 0 {
		err := t.smallFrom(ctx, up)
		if err == nil || ctx.Err() != nil {
			return err
		}
		t.mu.Lock()
		t.story.note("from the supernode: " + err.Error())
		t.fallback("the supernode did not give a small object")
		t.mu.Unlock()
	}
	return t.smallFrom(ctx, nil)
}

// smallFromNodes takes a small object that no origin has: from the supernode,
// whose failure is the last word while it answers, or from one neighbour after
// the other, sought again as long as somebody reads.
func (t *task) smallFromNodes(ctx context.Context) error {
	for {
		from, err := t.smallGiver(ctx)
		if from == nil {
			return err
		}
		err = t.smallInTurn(ctx, from)
		if err == nil || ctx.Err() != nil || errors.Is(err, errStore) {
			return err
		}
		t.mu.Lock()
		t.story.note("from a node: " + err.Error())
		last := from.supernode && !t.orphan
		delete(t.links, from.member.ID)
		t.mu.Unlock()
		if last {
			return err
		}
		if errors.Is(err, ErrWhole) {
			t.e.quarantine(from.member.ID)
		}
	}
}

// smallGiver waits for somebody to ask; nil without an error if the object came by
// another way meanwhile.
func (t *task) smallGiver(ctx context.Context) (*link, error) {
	for {
		t.mu.Lock()
		from, ended, member := t.giver(), t.err, t.joined && !t.orphan
		if from != nil {
			from = &link{node: from.node, member: from.member, supernode: from.supernode} // as it is now
		}
		t.mu.Unlock()
		switch {
		case from != nil || ended != nil:
			return from, ended
		case member:
			return nil, fmt.Errorf("%s: %w", t.id, ErrAbsent)
		}
		if err := t.prepare(ctx); err != nil || t.whole() {
			return nil, err
		}
	}
}

// smallInTurn is smallFrom once there is memory for it.
func (t *task) smallInTurn(ctx context.Context, from *link) error {
	if err := t.e.acquireSmall(ctx); err != nil {
		return err
	}
	defer t.e.releaseSmall()
	return t.smallFrom(ctx, from)
}

func (t *task) smallFrom(ctx context.Context, up *link) error {
	data := make([]byte, t.size)
	from := Teller{Kind: fromOrigin}
	var err error
	if up != nil {
		from = (&fetch{link: up, from: up.member}).teller()
		err = t.readSmall(ctx, up, data)
	} else {
		err = t.readSmallOrigin(ctx, data)
	}
	if err != nil {
		return err
	}
	if chunk.SumBytes(data) != t.id {
		t.e.metrics.Blocks.WithLabelValues("wrong").Inc()
		return fmt.Errorf("%s: %w", t.id, ErrWhole)
	}
	return t.keepSmall(data, from)
}

func (t *task) readSmall(ctx context.Context, up *link, data []byte) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*t.e.cfg.LastResort, errStalled)
	defer cancel()
	run := distribution.Span{N: uint32(chunk.BlockCount(t.size))}
	transfer, err := t.e.deps.Exchange.Fetch(ctx, up.member, distribution.Run{Object: t.id, Size: t.size, Span: run})
	if err != nil {
		return err
	}
	defer transfer.Body.Close()
	_, err = io.ReadFull(transfer.Body, data)
	return err
}

func (t *task) readSmallOrigin(ctx context.Context, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	blob, err := t.originBlob(ctx)
	if err != nil {
		return err
	}
	body, err := blob.Read(ctx, 0, t.size)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.ReadFull(body, data)
	return err
}

// keepSmall stores and seals a whole small object.
func (t *task) keepSmall(data []byte, from Teller) error {
	sums := chunk.SumBlocks(data)
	if len(data) > 0 {
		if _, err := t.obj.WriteAt(data, 0); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		if err := t.obj.Put(0, sums); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
	}
	t.mu.Lock()
	copy(t.sums, sums)
	for b := range sums {
		t.have.Set(b)
		t.held.Clear(b)
		t.story.came(b, from)
	}
	t.progress = time.Now()
	t.mu.Unlock()
	t.e.metrics.Blocks.WithLabelValues("verified").Add(float64(len(sums)))
	t.e.metrics.Received.WithLabelValues(from.Kind).Add(float64(len(data)))
	t.e.metrics.FirstByte.Observe(time.Since(t.opened).Seconds())
	return t.sealOwn()
}
