//go:build linux

package main

import (
	"context"
	"time"
)

const (
	// quietPause is how often the links are looked at after a run, and
	// quietBytes what all of them together may carry meanwhile to count as
	// quiet: control messages, no content.
	quietPause = 500 * time.Millisecond
	quietBytes = 256 << 10
	// quietLimit is when the next run begins all the same.
	quietLimit = 30 * time.Second
)

// quiet waits until the daemons have ended what they still do for a run whose
// clients are done (in mode spread the supernode takes the whole and seals it),
// so that it does not slow the next one down. It returns what the links carried
// meanwhile.
func (b *bench) quiet(ctx context.Context) (int64, error) {
	first, err := b.sent()
	if err != nil {
		return 0, err
	}
	deadline := time.Now().Add(quietLimit)
	for last := first; ; {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(quietPause):
		}
		now, err := b.sent()
		if err != nil {
			return 0, err
		}
		if now-last < quietBytes || time.Now().After(deadline) {
			return now - first, nil
		}
		last = now
	}
}

// sent is what all links have sent so far.
func (b *bench) sent() (total int64, err error) {
	g := gauge{}
	for _, h := range b.lab.Hosts() {
		total += g.sent(h)
	}
	return total, g.err
}
