package download

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// errNoSource says that nobody told this node where the object comes from.
var errNoSource = errors.New("no origin is known for the object")

// originBlob is the object at its origin, opened once; the newest caller's
// credentials are tried first.
func (t *task) originBlob(ctx context.Context) (distribution.Blob, error) {
	t.openMu.Lock()
	defer t.openMu.Unlock()
	t.mu.Lock()
	blob := t.blob
	srcs, size := slices.Clone(t.srcs), int64(0)
	if t.sure || t.list != nil {
		size = t.size
	}
	t.mu.Unlock()
	if blob != nil {
		return blob, nil
	}
	err := errNoSource
	for i := len(srcs) - 1; i >= 0; i-- {
		src := srcs[i]
		src.Size = size // known: no request is spent on asking
		if blob, err = t.e.deps.Origin.Open(ctx, src); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if size > 0 && blob.Size() != size {
		_ = blob.Close()
		return nil, &distribution.OriginError{Message: fmt.Sprintf("the origin says %d bytes where %d are known", blob.Size(), size)}
	}
	t.blob = blob
	return blob, nil
}

// originFailed decides after the origin gave up on a run: with another caller's
// credentials if there are any, else this is the end for an authority.
func (t *task) originFailed(f *fetch, err error) {
	t.mu.Lock()
	blob := t.blob
	t.blob = nil
	t.originErrs++
	again := t.originErrs < maxOriginErrs && !errors.Is(err, errWrong)
	var refusal *distribution.OriginError
	if errors.As(err, &refusal) && refusal.Status >= 400 && refusal.Status < 500 && len(t.srcs) > 1 {
		t.srcs = t.srcs[:len(t.srcs)-1]
		again = true
	}
	authority := t.origin
	t.originRest = time.Now().Add(time.Duration(t.originErrs) * 200 * time.Millisecond)
	t.mu.Unlock()
	if blob != nil {
		_ = blob.Close()
	}
	if authority && !again {
		t.fail(err, errors.Is(err, errWrong) && !t.member)
	}
}

// maxOriginErrs bounds how often a task opens its origin again: the origin
// package has retried each of these by itself.
const maxOriginErrs = 4

// fromOriginNow starts origin fetches up to the limit: before waiting readers
// first, then in order. Callers hold mu.
func (t *task) fromOriginNow(now time.Time) {
	if !t.origin || now.Before(t.originRest) {
		return
	}
	limit, span := t.e.cfg.Parallel, chunk.BlocksPerChunk
	if t.blob != nil && !t.blob.Ranged() {
		limit, span = 1, t.have.Len()
	}
	flying := 0
	for f := range t.fetches {
		if f.link == nil {
			flying++
		}
	}
	for flying < limit {
		run, ok := t.nextRun(t.originStart(), span)
		if !ok {
			run, ok = t.nextRun(0, span)
		}
		if !ok {
			return
		}
		t.launch(&fetch{run: run})
		flying++
	}
}

// originStart is where a waiting reader stands, or the beginning.
func (t *task) originStart() int {
	start := -1
	for r := range t.readers {
		if r.waiting && (start < 0 || r.block < start) {
			start = r.block
		}
	}
	return max(start, 0)
}

// nextRun is the first run at or after b that is neither here nor in flight, of
// at most span blocks; it does not cross a chunk's border unless span does.
func (t *task) nextRun(b, span int) (distribution.Span, bool) {
	n := t.have.Len()
	for b = t.missing(b); b < n && t.flights[b] > 0; b = t.missing(b + 1) {
	}
	if b >= n {
		return distribution.Span{}, false
	}
	end := n
	if span <= chunk.BlocksPerChunk {
		end = min(n, b-b%chunk.BlocksPerChunk+chunk.BlocksPerChunk, b+span)
	}
	run := distribution.Span{First: uint32(b)}
	for ; b < end && !t.here(b) && t.flights[b] == 0; b++ {
		run.N++
	}
	return run, true
}
