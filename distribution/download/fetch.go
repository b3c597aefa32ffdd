package download

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// fetch is one run of blocks on its way to this node.
type fetch struct {
	run     distribution.Span
	link    *link // nil: from the origin
	from    distribution.Member
	granted bool
	derived bool // of an object that no origin has
	packed  bool // travels compressed
	behind  bool // counted as not on demand
	started time.Time
	last    time.Time    // last block; guarded by the task's mu
	blocks  int          // received; guarded by the task's mu
	told    time.Time    // when others last heard that it is coming; guarded by the task's mu
	moved   atomic.Int64 // when its last byte came, in Unix nanoseconds
	cancel  context.CancelCauseFunc
}

// What ends a fetch beside its own end.
var (
	errSuperseded = errors.New("another source was sooner")
	errDropped    = errors.New("the chunk was dropped meanwhile")
	errStalled    = errors.New("nothing came within the stall deadline")
	errUnproved   = errors.New("nobody says the block's digest")
	errWrong      = fmt.Errorf("wrong bytes: %w", chunk.ErrCorrupt)
	errStore      = errors.New("cannot store")
)

func (f *fetch) teller() Teller {
	switch {
	case f.link == nil:
		return Teller{Kind: fromOrigin}
	case f.link.supernode:
		return Teller{Kind: fromSupernode, Node: f.from.ID}
	}
	return Teller{Kind: fromPeer, Node: f.from.ID}
}

// launch starts a fetch. Callers hold mu.
func (t *task) launch(f *fetch) {
	ctx, cancel := context.WithCancelCause(t.e.ctx)
	f.cancel, f.started = cancel, time.Now()
	f.last, f.told = f.started, f.started
	f.moved.Store(f.started.UnixNano())
	t.fetches[f] = struct{}{}
	if f.behind {
		t.e.demand.behind(1)
	}
	for b := int(f.run.First); b < f.run.End(); b++ {
		t.flights[b]++
		if f.granted {
			t.news.coming = add(t.news.coming, b)
			t.touch(t.e.cfg.Batch)
		}
	}
	if f.link != nil {
		f.from = f.link.member
		f.derived = t.derived
		f.packed = t.derived && f.link.node.pack()
		f.link.node.begin()
	}
	t.e.group.Go(func() error {
		defer cancel(nil)
		err := t.perform(ctx, f)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		t.landed(f, err)
		t.e.sweep(t)
		return nil
	})
}

// perform asks the source and takes in what it sends.
func (t *task) perform(ctx context.Context, f *fetch) error {
	off := int64(f.run.First) * chunk.BlockSize
	if f.link == nil {
		blob, err := t.originBlob(ctx)
		if err != nil {
			return err
		}
		body, err := blob.Read(ctx, off, min(int64(f.run.N)*chunk.BlockSize, t.size-off))
		if err != nil {
			return err
		}
		defer body.Close()
		return t.receive(ctx, f, body)
	}
	transfer, err := t.e.deps.Exchange.Fetch(ctx, f.from, distribution.Run{Object: t.id, Size: t.size, Span: f.run, Packed: f.packed})
	if err != nil {
		return err
	}
	defer transfer.Body.Close()
	if transfer.Sums != nil {
		if err := t.learnSums(f, transfer.Sums); err != nil {
			return err
		}
	}
	return t.receive(ctx, f, transfer.Body)
}

// learnSums takes the block digests that came with a run: proved by a sealed
// list, or on the supernode's word. Another node's word counts for nothing.
func (t *task) learnSums(f *fetch, sums chunk.Sums) error {
	c := int(f.run.First) / chunk.BlocksPerChunk
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.list != nil:
		if sums.Digest() != t.list.Chunks[c] {
			return errWrong
		}
		t.correct(c, sums)
	case !f.link.supernode:
		return nil
	}
	first, end := chunk.ChunkBlocks(t.size, c)
	for b := first; b < end; b++ {
		if t.sums[b].IsZero() {
			t.sums[b] = sums[b-first]
		}
	}
	t.signal()
	return nil
}

// correct drops a chunk of which a block came in under another digest than the
// proved one. Callers hold mu.
func (t *task) correct(c int, proved chunk.Sums) {
	first, end := chunk.ChunkBlocks(t.size, c)
	for b := first; b < end; b++ {
		if known := t.sums[b]; !known.IsZero() && known != proved[b-first] {
			t.dropChunk(c)
			return
		}
	}
}

// receive takes the run's blocks in, one by one.
func (t *task) receive(ctx context.Context, f *fetch, body io.Reader) error {
	buf := t.e.buffer()
	defer t.e.recycle(buf)
	body = alive{body, f}
	for b := int(f.run.First); b < f.run.End(); b++ {
		p := buf[:chunk.BlockLength(t.size, b)]
		if _, err := io.ReadFull(body, p); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("block %d: %w", b, err)
		}
		if err := t.accept(ctx, f, b, p); err != nil {
			return err
		}
	}
	return nil
}

// alive notes when a fetch's bytes come: a block may take long on a slow link.
type alive struct {
	io.Reader
	f *fetch
}

func (a alive) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if n > 0 {
		a.f.moved.Store(time.Now().UnixNano())
	}
	return n, err
}

// accept verifies one block and stores it.
func (t *task) accept(ctx context.Context, f *fetch, b int, p []byte) error {
	sum := chunk.SumBytes(p)
	if err := t.expect(ctx, f, b, sum); err != nil {
		return err
	}
	t.mu.Lock()
	t.paced(f, time.Now())
	f.blocks++
	if t.sums[b] != sum {
		t.mu.Unlock()
		return errDropped
	}
	if t.here(b) || t.busy.Has(b) {
		t.mu.Unlock()
		t.e.metrics.Blocks.WithLabelValues("duplicate").Inc()
		return nil
	}
	t.busy.Set(b)
	c := b / chunk.BlocksPerChunk
	gen := t.gen[c]
	t.mu.Unlock()

	_, err := t.obj.WriteAt(p, int64(b)*chunk.BlockSize)

	t.mu.Lock()
	t.busy.Clear(b)
	if t.gen[c] != gen {
		t.mu.Unlock()
		return errDropped
	}
	if err != nil {
		t.mu.Unlock()
		return fmt.Errorf("%w block %d: %w", errStore, b, err)
	}
	whole := t.took(f, b, int64(len(p)))
	if whole != nil && t.list != nil && whole.Digest() != t.list.Chunks[c] {
		t.pending--
		t.dropChunk(c)
		t.mu.Unlock()
		if f.link == nil {
			return errWrong
		}
		return errDropped
	}
	t.mu.Unlock()
	if whole != nil {
		return t.put(c, gen, whole)
	}
	return nil
}

// patientBatches is how much longer news may wait that nobody hangs on: a block
// that came from a neighbour, whom others can ask for it as well.
const patientBatches = 4

// put records a whole chunk in the store; the task is not done before.
func (t *task) put(c int, gen uint32, sums chunk.Sums) error {
	err := t.obj.Put(c, sums)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending--
	if t.gen[c] != gen {
		if err == nil {
			err = t.obj.Drop(c)
		}
		return errors.Join(errDropped, err)
	}
	if err != nil {
		return fmt.Errorf("%w chunk %d: %w", errStore, c, err)
	}
	t.finishIfWhole()
	t.signal()
	return nil
}

// took books block b as here; the sums are the chunk's when that made it whole.
// Callers hold mu.
func (t *task) took(f *fetch, b int, bytes int64) chunk.Sums {
	if t.have.Count() == 0 {
		t.e.metrics.FirstByte.Observe(time.Since(t.opened).Seconds())
	}
	t.have.Set(b)
	if t.e.deps.Observer != nil {
		t.e.deps.Observer.Arrived(t.id, b, []chunk.Digest{t.sums[b]})
	}
	t.progress = f.last
	from := f.teller()
	t.story.came(b, from)
	t.e.metrics.Blocks.WithLabelValues("verified").Inc()
	t.e.metrics.Received.WithLabelValues(from.Kind).Add(float64(bytes))
	t.news.got = add(t.news.got, b)
	if f.link == nil && f.granted {
		t.news.digest(t.id, b, t.sums[b])
	}
	if f.granted {
		t.touch(t.e.cfg.Batch)
	} else {
		t.touch(patientBatches * t.e.cfg.Batch)
	}
	if f.link != nil && t.member && !t.orphan {
		t.origin = false
	}
	t.supersede(b)
	first, end := chunk.ChunkBlocks(t.size, b/chunk.BlocksPerChunk)
	var sums chunk.Sums
	if next := t.have.NextClear(first); next >= end {
		sums = append(sums, t.sums[first:end]...)
		t.pending++
	}
	t.signal()
	return sums
}

// supersede ends other fetches of which block b was the last that anybody
// waited for. Callers hold mu.
func (t *task) supersede(b int) {
	if t.flights[b] < 2 {
		return
	}
	for f := range t.fetches {
		if b < int(f.run.First) || b >= f.run.End() {
			continue
		}
		if t.have.NextClear(int(f.run.First)) >= f.run.End() && f.blocks < int(f.run.N)-1 {
			f.cancel(errSuperseded)
		}
	}
}

// expect compares a block with its digest. From the origin an unknown digest is
// learned; from a node it is waited for, while the fetch counts as silent.
func (t *task) expect(ctx context.Context, f *fetch, b int, sum chunk.Digest) error {
	if f.link == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.sums[b] != sum && t.list != nil && !t.sums[b].IsZero() {
			return errWrong
		}
		if known := t.sums[b]; !known.IsZero() && known != sum {
			t.story.note(fmt.Sprintf("block %d differs at the origin from what the swarm said", b))
		}
		t.sums[b] = sum
		return nil
	}
	var want chunk.Digest
	err := t.await(ctx, func() bool { want = t.sums[b]; return !want.IsZero() || !t.provable(b) })
	if err != nil {
		return fmt.Errorf("digest of block %d: %w", b, err)
	}
	if want.IsZero() {
		return errUnproved
	}
	if want != sum {
		return errWrong
	}
	return nil
}

// landed books the end of a fetch.
func (t *task) landed(f *fetch, err error) {
	now := time.Now()
	t.mu.Lock()
	delete(t.fetches, f)
	if f.behind {
		t.e.demand.behind(-1)
	}
	lost := false
	for b := int(f.run.First); b < f.run.End(); b++ {
		t.flights[b]--
		if f.granted && t.flights[b] == 0 && !t.here(b) {
			t.news.lost = add(t.news.lost, b)
			lost = true
		}
	}
	if lost || f.granted {
		t.touch(t.e.cfg.Batch)
	}
	bytes := min(int64(f.run.N)*chunk.BlockSize, t.size-int64(f.run.First)*chunk.BlockSize)
	if errors.Is(err, distribution.ErrAbsent) && f.link != nil {
		f.link.deny(f.run, t.have.Len())
	}
	waited := errors.Is(err, errStalled) && f.link != nil && !f.link.holds(t.missing(int(f.run.First)))
	if waited {
		f.link.overdue(f.run)
	}
	if err != nil && !errors.Is(err, errSuperseded) && t.state == fetching {
		t.story.note(fmt.Sprintf("blocks %s from %s: %v", f.run, f.teller().Kind, err))
	}
	t.signal()
	t.mu.Unlock()

	if waited && !f.link.supernode {
		t.yield(f)
		t.e.metrics.Fetches.WithLabelValues(f.teller().Kind, "overdue").Inc()
	} else {
		t.judge(f, err, bytes, now)
	}
	t.leave()
	t.poke()
}

// judge adapts what is known of the source, or ends the task.
func (t *task) judge(f *fetch, err error, bytes int64, now time.Time) {
	result := "ok"
	var busy *distribution.BusyError
	switch {
	case err == nil:
		if f.link != nil {
			f.link.node.succeeded(bytes, now.Sub(f.started), t.e.cfg.Window)
			if f.derived {
				f.link.node.timed(f.packed, bytes, now.Sub(f.started))
			}
		}
	case errors.Is(err, errStore):
		result = "failed"
		t.yield(f)
		t.fail(err, false)
	case errors.Is(err, errSuperseded), errors.Is(err, errDropped), errors.Is(err, errUnproved), errors.Is(err, errStopped), errors.Is(err, context.Canceled):
		result = "superseded"
		t.yield(f)
	case f.link == nil:
		result = "failed"
		if errors.Is(err, errWrong) {
			result = "wrong"
		}
		t.originFailed(f, err)
	case errors.As(err, &busy):
		result = "busy"
		f.link.node.suffered(max(busy.RetryAfter, 10*time.Millisecond), now)
	case errors.Is(err, distribution.ErrAbsent):
		result = "absent"
		t.yield(f)
	case errors.Is(err, errWrong):
		result = "wrong"
		t.e.metrics.Blocks.WithLabelValues("wrong").Inc()
		t.yield(f)
		t.e.accuse(t, f)
	default:
		result = "failed"
		if errors.Is(err, errStalled) {
			result = "stalled"
		}
		f.link.node.suffered(0, now)
	}
	t.e.metrics.Fetches.WithLabelValues(f.teller().Kind, result).Inc()
}

func (t *task) yield(f *fetch) {
	if f.link != nil {
		f.link.node.yielded()
	}
}

// deny remembers that the node has not got these blocks after all.
func (l *link) deny(run distribution.Span, blocks int) {
	if l.refused == nil {
		l.refused = chunk.NewBitmap(blocks)
	}
	l.all = false
	setSpans(l.refused, []distribution.Span{run}, true)
}

func (n *news) digest(object chunk.Digest, b int, sum chunk.Digest) {
	if k := len(n.digests); k > 0 {
		d := &n.digests[k-1]
		if int(d.First)+len(d.Sums) == b && len(d.Sums) < distribution.MaxSums {
			d.Sums = append(d.Sums, sum)
			return
		}
	}
	n.digests = append(n.digests, distribution.Digests{Object: object, First: uint32(b), Sums: []chunk.Digest{sum}})
}
