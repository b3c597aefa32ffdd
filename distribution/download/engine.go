package download

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Engine implements distribution.Objects and distribution.Uploads.
type Engine struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	metrics *Metrics
	group   *errgroup.Group
	ctx     context.Context // ends with Close
	stop    context.CancelCauseFunc
	small   chan struct{} // one token for each small object in memory
	buffers sync.Pool

	// mu is taken before any task's mu.
	mu       sync.Mutex
	tasks    map[chunk.Digest]*task
	session  *session // nil while no supernode answers
	tried    bool     // the first attempt to reach a supernode has ended
	sessions chan struct{}
	stories  []Explanation // of tasks that ended, newest last
	deriving map[uint64]*deriving
	// lastDerive numbers them.
	lastDerive uint64

	demand demand

	// gossiping is held while news goes out, so that it keeps its order. It is
	// taken before every other.
	gossiping sync.Mutex

	// around is taken after a task's mu.
	around     sync.Mutex
	nodes      map[distribution.NodeID]*node
	neighbours map[distribution.NodeID]*neighbour
	early      map[acquaintance]*link
	known      []distribution.Member // to ask while no supernode answers; the newest last
	fresh      map[*task]struct{}    // that have news
}

// Bounds of what the engine keeps.
const (
	maxSmall   = 4
	maxStories = 512
)

var (
	_ distribution.Objects = (*Engine)(nil)
	_ distribution.Uploads = (*Engine)(nil)
)

// New makes an engine and starts what it does by itself; Close ends it.
func New(cfg Config, deps Deps) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	e := &Engine{
		cfg: cfg, deps: deps, log: deps.Log, metrics: deps.Metrics, group: &errgroup.Group{}, ctx: ctx, stop: stop,
		small:      make(chan struct{}, maxSmall),
		tasks:      map[chunk.Digest]*task{},
		nodes:      map[distribution.NodeID]*node{},
		sessions:   make(chan struct{}),
		deriving:   map[uint64]*deriving{},
		demand:     demand{held: map[*task]int{}},
		neighbours: map[distribution.NodeID]*neighbour{},
		early:      map[acquaintance]*link{},
		fresh:      map[*task]struct{}{},
	}
	e.buffers.New = func() any { b := make([]byte, chunk.BlockSize); return &b }
	e.group.Go(func() error { e.sweeper(ctx); return nil })
	if deps.Supernode != nil {
		e.group.Go(func() error { e.control(ctx); return nil })
	}
	return e, nil
}

// Close says goodbye to the swarm and ends every download. Readers fail; what
// was stored stays.
func (e *Engine) Close() error {
	e.mu.Lock()
	e.stop(errStopped)
	e.mu.Unlock()
	e.around.Lock()
	for _, n := range e.neighbours {
		if n.conn != nil {
			_ = n.conn.Close()
		}
	}
	e.around.Unlock()
	err := e.group.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.tasks {
		t.mu.Lock()
		if t.obj != nil {
			_ = t.obj.Close()
		}
		t.mu.Unlock()
	}
	clear(e.tasks)
	return err
}

func (e *Engine) buffer() []byte   { return *e.buffers.Get().(*[]byte) }
func (e *Engine) recycle(b []byte) { b = b[:cap(b)]; e.buffers.Put(&b) }

func (e *Engine) acquireSmall(ctx context.Context) error {
	select {
	case e.small <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *Engine) releaseSmall() { <-e.small }

// trusts tells whether a seal under the list of this very object counts here.
func (e *Engine) trusts(l *chunk.List, s chunk.Seal, id chunk.Digest, size int64) bool {
	own := e.deps.Key.Public().(ed25519.PublicKey)
	if l.Object != id || l.Size != size {
		return false
	}
	return s.Verify(l, append([]ed25519.PublicKey{own}, e.deps.Trust...)) == nil
}

// Holds implements distribution.Objects.
func (e *Engine) Holds(id chunk.Digest) (int64, bool) {
	e.mu.Lock()
	t := e.tasks[id]
	e.mu.Unlock()
	if t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.state == fetching && !t.looping && t.obj != nil && t.pending+len(t.fetches) == 0 {
			t.takeUp() // who derives objects puts them into the store beside the engine
		}
		return t.size, t.state == done
	}
	obj, err := e.deps.Store.Open(id)
	if err != nil {
		return 0, false
	}
	defer obj.Close()
	list, seal, ok := obj.Sealed()
	return obj.Size(), ok && obj.Have().Full() && e.trusts(list, seal, id, obj.Size())
}

// Open implements distribution.Objects.
func (e *Engine) Open(ctx context.Context, src distribution.Source) (distribution.Reader, error) {
	return e.open(ctx, src, -1)
}

// Lead opens an object whose swarm this node coordinates in mode spread: its
// blocks come from members, of whom Neighbour and Learn tell.
func (e *Engine) Lead(ctx context.Context, src distribution.Source, size int64) (distribution.Reader, error) {
	return e.open(ctx, src, size)
}

// open comes back to an object whose whole just proved wrong, before the caller was
// given any of it: it is begun anew.
func (e *Engine) open(ctx context.Context, src distribution.Source, led int64) (distribution.Reader, error) {
	r, err := e.openOnce(ctx, src, led)
	if errors.Is(err, ErrWhole) {
		return e.openOnce(ctx, src, led)
	}
	return r, err
}

func (e *Engine) openOnce(ctx context.Context, src distribution.Source, led int64) (distribution.Reader, error) {
	t, err := e.take(ctx, src, led, true)
	if err != nil {
		return nil, err
	}
	if err := t.await(ctx, t.readable); err != nil {
		t.release(true)
		return nil, err
	}
	r := &reader{t: t}
	t.mu.Lock()
	r.size = t.size
	r.strict = t.state == done
	t.readers[r] = struct{}{}
	t.mu.Unlock()
	return r, nil
}

// readable tells that readers may come: the size is certain, and what is missing
// is being fetched. When nothing is, but the whole is not proved yet, they wait for
// that: it takes a moment, and may show that all of it is wrong. Callers hold mu.
func (t *task) readable() bool {
	switch {
	case t.obj == nil:
		return false
	case t.state == done:
		return true
	}
	return t.looping && (t.list != nil || t.sure && t.missing(0) < t.have.Len())
}

// take finds or makes the task, with one more reader on it, who wants the whole
// or parts, and its loop. It waits for one that failed to leave.
func (e *Engine) take(ctx context.Context, src distribution.Source, led int64, whole bool) (*task, error) {
	for {
		t, leaving, err := e.tryTake(src, led, whole)
		if leaving == nil {
			return t, err
		}
		select {
		case <-leaving:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (e *Engine) tryTake(src distribution.Source, led int64, whole bool) (_ *task, leaving <-chan struct{}, _ error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return nil, nil, errStopped
	}
	t := e.tasks[src.Digest]
	if t == nil {
		t = newTask(e, src.Digest)
		e.tasks[src.Digest] = t
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == failed {
		return nil, t.gone, nil
	}
	t.refs++
	t.reading++
	t.everything = t.everything || whole
	t.addSource(src)
	if led >= 0 && t.size < 0 {
		t.led, t.sure = true, true
		obj, err := e.deps.Store.Create(src.Digest, led)
		if err != nil {
			t.refs--
			t.reading--
			return nil, nil, fmt.Errorf("%w: %w", errStore, err)
		}
		t.attach(obj)
	}
	if t.state != done {
		e.begin(t)
	}
	return t, nil, nil
}

// begin starts the task's loop if it does not run. Callers hold the task's mu.
func (e *Engine) begin(t *task) {
	if t.looping || len(t.srcs) == 0 || e.ctx.Err() != nil {
		return
	}
	t.looping = true
	t.progress = time.Now()
	e.group.Go(func() error { t.run(e.ctx); return nil })
}

// resident finds the task of an object that is here, or makes a dormant one
// from the store, with one more reference on it.
func (e *Engine) resident(id chunk.Digest) (*task, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return nil, errStopped
	}
	t := e.tasks[id]
	if t == nil {
		obj, err := e.deps.Store.Open(id)
		if err != nil {
			return nil, err
		}
		t = newTask(e, id)
		t.attach(obj)
		e.tasks[id] = t
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.obj == nil {
		return nil, chunk.ErrNotFound
	}
	t.refs++
	return t, nil
}

// forget takes a failed task out of the map, so that the next Open tries anew.
func (e *Engine) forget(t *task) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgetLocked(t)
}

// forgetLocked is forget. Callers hold e.mu.
func (e *Engine) forgetLocked(t *task) {
	if e.tasks[t.id] == t {
		delete(e.tasks, t.id)
		close(t.gone)
	}
}

// sweep ends a task that nobody uses: at once if it failed, else when it has
// been idle for a while.
func (e *Engine) sweep(t *task) {
	e.mu.Lock()
	t.mu.Lock()
	unused := t.refs == 0 && !t.looping && len(t.fetches) == 0 && !t.hashing && t.pending == 0
	expired := t.state == failed || time.Since(t.idle) > e.cfg.Linger || e.ctx.Err() != nil
	if !unused || !expired || t.swept {
		t.mu.Unlock()
		e.mu.Unlock()
		return
	}
	t.swept = true
	e.forgetLocked(t)
	if t.size >= 0 || t.err != nil {
		e.remember(t.explain())
	}
	obj := t.obj
	t.mu.Unlock()
	e.mu.Unlock()
	if obj != nil {
		_ = obj.Close()
	}
	if errors.Is(t.err, ErrWhole) {
		_ = e.deps.Store.Remove(t.id)
	}
}

// remember keeps the story of an ended task, bounded. Callers hold mu.
func (e *Engine) remember(x Explanation) {
	for i := range e.stories {
		if e.stories[i].Object == x.Object {
			e.stories = append(e.stories[:i], e.stories[i+1:]...)
			break
		}
	}
	if len(e.stories) == maxStories {
		e.stories = e.stories[1:]
	}
	e.stories = append(e.stories, x)
}

// sweeper ends idle tasks.
func (e *Engine) sweeper(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, t := range e.all() {
			e.sweep(t)
		}
	}
}

func (e *Engine) all() []*task {
	e.mu.Lock()
	defer e.mu.Unlock()
	tasks := make([]*task, 0, len(e.tasks))
	for _, t := range e.tasks {
		tasks = append(tasks, t)
	}
	return tasks
}

func (e *Engine) task(id chunk.Digest) *task {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tasks[id]
}

// node is the engine's one record of another node.
func (e *Engine) node(id distribution.NodeID) *node {
	e.around.Lock()
	defer e.around.Unlock()
	n := e.nodes[id]
	if n == nil {
		n = &node{window: firstWindow}
		e.nodes[id] = n
	}
	return n
}

// accuse quarantines the node that sent a wrong byte, and tells the supernode.
func (e *Engine) accuse(t *task, f *fetch) {
	who := f.from.ID
	e.quarantine(who)
	t.log.Error("a node sent a wrong byte: quarantined", "node", string(who), "blocks", f.run.String())
	e.tell(&distribution.Report{Object: t.id, Node: who, Block: f.run.First})
}

func (e *Engine) quarantine(id distribution.NodeID) {
	n := e.node(id)
	n.mu.Lock()
	fresh := !n.quarantined
	n.quarantined = true
	n.mu.Unlock()
	if fresh {
		e.metrics.Quarantined.Inc()
	}
}

// Evicted is to be called when the store let go of an object by itself.
func (e *Engine) Evicted(id chunk.Digest) {
	e.tell(&distribution.Announce{Gone: []chunk.Digest{id}})
}

// Explain tells where an object's blocks came from, running or ended.
func (e *Engine) Explain(id chunk.Digest) (Explanation, bool) {
	if t := e.task(id); t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.explain(), true
	}
	e.mu.Lock()
	for _, x := range e.stories {
		if x.Object == id {
			e.mu.Unlock()
			return x, true
		}
	}
	e.mu.Unlock()
	obj, err := e.deps.Store.Open(id)
	if err != nil {
		return Explanation{}, false
	}
	t := newTask(e, id)
	t.attach(obj)
	defer obj.Close()
	return t.explain(), true
}

// SealOf gives the list and seal of a whole object in the store.
func (e *Engine) SealOf(id chunk.Digest) (*chunk.List, chunk.Seal, bool) {
	obj, err := e.deps.Store.Open(id)
	if err != nil {
		return nil, chunk.Seal{}, false
	}
	defer obj.Close()
	list, seal, ok := obj.Sealed()
	return list, seal, ok && e.trusts(list, seal, id, obj.Size())
}

// Present tells which blocks of an open object are here, and the digests known
// of it; nil if it is not open.
func (e *Engine) Present(id chunk.Digest) (*chunk.Bitmap, []chunk.Digest) {
	t := e.task(id)
	if t == nil {
		return nil, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.have == nil {
		return nil, nil
	}
	return t.hereMap(), slices.Clone(t.sums)
}

// hereMap is which blocks need no fetch. Callers hold mu.
func (t *task) hereMap() *chunk.Bitmap {
	here := t.have.Clone()
	for b := t.held.NextSet(0); b < t.held.Len(); b = t.held.NextSet(b + 1) {
		here.Set(b)
	}
	return here
}
