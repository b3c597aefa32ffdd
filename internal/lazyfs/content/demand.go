//go:build linux

package content

import (
	"context"
	"errors"
	"fmt"

	"github.com/shoal-project/shoal/internal/nodeapi"
)

// fetch asks the peer for blocks that a read waits for, and looks at the disk
// itself if the peer is away.
func (o *object) fetch(ctx context.Context, m *Image, first, end int) error {
	o.table.quiet.add(1)
	defer o.table.quiet.add(-1)
	o.note(first, end, 1)
	defer o.note(first, end, -1)
	if o.table.away.Load() && o.prove(m, first, end) {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.table.cfg.Attempt,
		fmt.Errorf("the peer did not bring the bytes within %s", o.table.cfg.Attempt))
	defer cancel()
	select {
	case m.demand <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	err := o.ask(ctx, m, first, end, byDemand)
	<-m.demand
	switch {
	case err == nil, o.prove(m, first, end):
		return nil
	case errors.Is(err, nodeapi.ErrAbsent):
		return errors.Join(err, m.reopen(ctx))
	}
	return err
}

// note counts requests for blocks.
func (o *object) note(first, end, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for b := first; b < end; b++ {
		if o.asked[b] += n; o.asked[b] == 0 {
			delete(o.asked, b)
		}
	}
}
