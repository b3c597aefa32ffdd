package download

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// state is where a task stands.
type state int

const (
	opening  state = iota // the size is not known yet
	fetching              // blocks are missing, or the whole is not vouched for
	done                  // every block is here and sealed
	failed                // err says why; the task is out of the engine's map
)

func (s state) String() string { return [...]string{"opening", "fetching", "done", "failed"}[s] }

// maxSources bounds how many callers' credentials a task keeps.
const maxSources = 8

// task is one object in the engine.
type task struct {
	e      *Engine
	id     chunk.Digest
	log    *slog.Logger
	opened time.Time
	wake   chan struct{} // the loop looks again; holds at most one
	gone   chan struct{} // closed when the engine has it no more
	openMu sync.Mutex    // held while the blob is opened at the origin

	mu      sync.Mutex
	waiters map[*waiter]struct{}
	state   state
	err     error
	refs    int       // readers and uploads
	idle    time.Time // since when refs is zero
	reading int       // readers only; what keeps a download going
	looping bool      // the loop runs
	swept   bool      // ended: out of the map, its object closed
	srcs    []distribution.Source
	derived bool // no origin has it
	// everything: some reader wanted the whole, not only parts.
	everything bool
	blob       distribution.Blob // opened at the origin, when it was

	size    int64
	sure    bool // of the size: the origin's or the supernode's word, not just the store's
	obj     chunk.Object
	pending int            // chunks that are whole but not Put yet
	have    *chunk.Bitmap  // blocks here, verified since this task began
	held    *chunk.Bitmap  // blocks that the store had before; verified on use
	busy    *chunk.Bitmap  // blocks being written
	sums    []chunk.Digest // one a block; zero is unknown
	gen     []uint32       // of each chunk; raised when it is dropped, so that what was on its way in does not count
	list    *chunk.List    // sealed; nil while provisional
	seal    chunk.Seal

	// member: the supernode's swarm; otherwise this node is the authority.
	member  bool
	spread  bool   // members fetch from the origin by grant
	small   bool   // at most a chunk: fetched in one piece, without a swarm
	joined  bool   // the supernode answered the Want
	refusal string // why it did not
	origin  bool   // this node may take any missing block from the origin
	led     bool   // this node coordinates the swarm, and takes only from its members
	hashing bool   // hashWhole runs
	orphan  bool   // a member whose supernode is away
	voided  bool   // the whole once proved wrong and was begun again
	links   map[distribution.NodeID]*link
	fetches map[*fetch]struct{}
	flights []uint8 // fetches in flight, by block
	grants  []granted
	readers map[*reader]struct{}

	originErrs int
	originRest time.Time // the origin is not asked before this

	progress time.Time     // last new block
	usual    time.Duration // between two blocks of a fetch, smoothed
	needed   time.Time     // last Need sent
	sought   time.Time     // last Seek sent
	asked    int           // of how many nodes
	complete time.Time     // since when no block is missing
	news     news          // what neighbours were not told yet
	story    story         // where blocks came from
}

// granted is a run that the supernode allotted to this node.
type granted struct {
	run    distribution.Span
	origin bool
}

func newTask(e *Engine, id chunk.Digest) *task {
	now := time.Now()
	return &task{
		e: e, id: id, log: e.log.With("object", id.String()), opened: now, progress: now, idle: now,
		wake: make(chan struct{}, 1), gone: make(chan struct{}), waiters: map[*waiter]struct{}{}, size: -1,
		links:   map[distribution.NodeID]*link{},
		fetches: map[*fetch]struct{}{}, readers: map[*reader]struct{}{},
	}
}

var zeroTime time.Time

// waiter is a goroutine in await. Whoever changes the task asks it whether it
// may go on, so that a block wakes only those who waited for it.
type waiter struct {
	ready func() bool
	done  chan struct{}
}

// signal lets those go on who can. Callers hold mu.
func (t *task) signal() {
	for w := range t.waiters {
		if t.state == failed || w.ready() {
			delete(t.waiters, w)
			close(w.done)
		}
	}
}

// poke lets the loop look again.
func (t *task) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// addSource remembers another caller's way to the origin. Callers hold mu.
func (t *task) addSource(src distribution.Source) {
	t.derived = src.Derived
	for _, s := range t.srcs {
		if s == src {
			return
		}
	}
	if len(t.srcs) == maxSources {
		t.srcs = t.srcs[1:]
	}
	t.srcs = append(t.srcs, src)
}

// source is the newest way to the origin; its credentials live longest.
func (t *task) source() (distribution.Source, bool) {
	if len(t.srcs) == 0 {
		return distribution.Source{}, false
	}
	return t.srcs[len(t.srcs)-1], true
}

// attach takes the store's object. Callers hold mu.
func (t *task) attach(obj chunk.Object) {
	t.obj, t.size = obj, obj.Size()
	n := chunk.BlockCount(t.size)
	t.have, t.held, t.busy = chunk.NewBitmap(n), chunk.NewBitmap(n), chunk.NewBitmap(n)
	t.sums = make([]chunk.Digest, n)
	t.gen = make([]uint32, chunk.Count(t.size))
	t.flights = make([]uint8, n)
	t.story.init(n)
	t.state = fetching
	t.takeUp()
}

// takeUp takes the blocks, and the seal, that the store's object has and the task
// does not know of. Callers hold mu.
func (t *task) takeUp() {
	chunks := t.obj.Have()
	for c := chunks.NextSet(0); c < chunks.Len(); c = chunks.NextSet(c + 1) {
		first, end := chunk.ChunkBlocks(t.size, c)
		sums := t.obj.Sums(c)
		for b := first; b < end && b-first < len(sums); b++ {
			if !t.here(b) {
				t.held.Set(b)
				t.sums[b] = sums[b-first]
			}
		}
	}
	if list, seal, ok := t.obj.Sealed(); ok && t.list == nil && t.e.trusts(list, seal, t.id, t.size) {
		t.list, t.seal = list, seal
	}
	t.finishIfWhole()
	t.signal()
}

// here tells whether block b needs no fetch. Callers hold mu.
func (t *task) here(b int) bool { return t.have.Has(b) || t.held.Has(b) }

// missing is the first block at or after b that is not here, or the count.
func (t *task) missing(b int) int {
	for n := t.have.Len(); b < n; b++ {
		b = t.have.NextClear(b)
		if b >= n || !t.held.Has(b) {
			break
		}
	}
	return min(b, t.have.Len())
}

// finishIfWhole moves to done when every block is here under a seal. Callers
// hold mu.
func (t *task) finishIfWhole() {
	if t.state != fetching || t.pending > 0 || t.missing(0) < t.have.Len() {
		return
	}
	if t.complete.IsZero() {
		t.complete = time.Now()
	}
	if t.list != nil {
		t.state = done
		t.grants = nil
		for f := range t.fetches {
			f.cancel(errSuperseded)
		}
	}
}

// fail ends the task. What the store has stays there unless wrong says that
// the whole is not what its name says: then nothing of it may be seen by the next
// task, which begins when all that this one was fetching has come to its end.
func (t *task) fail(err error, wrong bool) {
	if !wrong {
		t.e.forget(t)
	}
	t.mu.Lock()
	if t.state == done || t.state == failed {
		t.mu.Unlock()
		return
	}
	t.state, t.err = failed, err
	for f := range t.fetches {
		f.cancel(err)
	}
	if wrong && t.obj != nil {
		t.void()
	}
	t.signal()
	t.mu.Unlock()
	t.leave()
	if !errors.Is(err, errStopped) {
		t.log.Warn("object cannot be had", "error", err)
		if t.e.deps.Observer != nil {
			t.e.deps.Observer.Failed(t.id, err, wrong)
		}
	}
	t.poke()
}

// leave makes room for the next task once a failed one writes nothing any more.
func (t *task) leave() {
	t.mu.Lock()
	ended := t.state == failed && len(t.fetches) == 0
	t.mu.Unlock()
	if ended {
		t.e.forget(t)
	}
}

// release gives back a reference. A task that nobody uses any more ends at
// once when it is done or dormant; its download lingers otherwise.
func (t *task) release(reader bool) {
	t.mu.Lock()
	t.refs--
	if reader {
		t.reading--
	}
	if t.refs == 0 {
		t.idle = time.Now()
	}
	t.signal()
	t.mu.Unlock()
	t.e.sweep(t)
	t.poke()
}

// await waits until ready, which is always called with mu held, says true, or ctx
// ends, or the task failed.
func (t *task) await(ctx context.Context, ready func() bool) error {
	t.mu.Lock()
	if t.state == failed {
		defer t.mu.Unlock()
		return t.err
	}
	if ready() {
		t.mu.Unlock()
		return nil
	}
	w := &waiter{ready: ready, done: make(chan struct{})}
	t.waiters[w] = struct{}{}
	t.mu.Unlock()
	select {
	case <-w.done:
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.waiters, w)
	switch {
	case t.state == failed:
		return t.err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return nil
}
