package diskstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

// Store implements chunk.Store.
type Store struct {
	dir     string
	cfg     Config
	log     *slog.Logger
	metrics *Metrics
	free    func() (int64, error) // free bytes of the file system
	lock    *os.File

	closed  atomic.Bool
	bytes   atomic.Int64 // charged for content, of all objects
	evicted atomic.Int64

	pinned pinned

	mu      sync.Mutex // guards the table and what object says it guards
	objects map[chunk.Digest]*object
	ingests map[*ingest]struct{}
	pins    map[string][]chunk.Digest

	pinMu sync.Mutex // one pin is changed at a time, without mu

	dirtyMu  sync.Mutex // guards dirty and unsynced
	dirty    map[*object]struct{}
	unsynced int64 // bytes put and not durable, of all objects

	evictMu sync.Mutex // one eviction at a time

	stop     context.CancelFunc
	tasks    sync.WaitGroup
	syncNow  chan struct{}
	evictNow chan struct{}
}

var _ chunk.Store = (*Store)(nil)

// Open takes the store in dir, made if need be, for this process alone. It
// reads the have-maps' marks, no content. A nil m counts for nobody.
func Open(dir string, cfg Config, log *slog.Logger, m *Metrics) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("store configuration: %w", err)
	}
	if m == nil {
		m = NewMetrics(nil)
	}
	s := &Store{
		dir: dir, cfg: cfg, log: log, metrics: m,
		free:     func() (int64, error) { return freeBytes(dir) },
		objects:  make(map[chunk.Digest]*object),
		ingests:  make(map[*ingest]struct{}),
		pins:     make(map[string][]chunk.Digest),
		pinned:   pinned{count: make(map[chunk.Digest]int)},
		dirty:    make(map[*object]struct{}),
		syncNow:  make(chan struct{}, 1),
		evictNow: make(chan struct{}, 1),
	}
	if err := s.takeDir(); err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", dir, err)
	}
	unsure, err := s.readDir()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the store in %s: %w", dir, err), s.lock.Close())
	}
	m.quota.Set(float64(cfg.Quota))
	s.charge(0)
	s.start(unsure)
	return s, nil
}

// takeDir makes the directory and takes its lock.
func (s *Store) takeDir() (err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	s.lock, err = lockFile(filepath.Join(s.dir, lockName))
	return err
}

// readDir takes stock of what the directory has; it returns the objects with
// chunks that a crash left in doubt.
func (s *Store) readDir() ([]*object, error) {
	if err := s.forgetBoot(); err != nil {
		return nil, err
	}
	if err := s.loadPins(); err != nil {
		return nil, err
	}
	return s.scan()
}

// start runs the background tasks, until Close.
func (s *Store) start(unsure []*object) {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.tasks.Go(func() { s.recheck(unsure); s.syncLoop(ctx) })
	s.tasks.Go(func() { s.evictLoop(ctx) })
	kick(s.evictNow)
}

// kick wakes the task that listens on c, if it is not awake already.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Open implements chunk.Store.
func (s *Store) Open(d chunk.Digest) (chunk.Object, error) {
	o, err := s.acquire(d, -1)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", d, err)
	}
	h, err := s.attach(o, (*object).load)
	if errors.Is(err, errDamaged) {
		err = chunk.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", d, err)
	}
	return h, nil
}

// Create implements chunk.Store.
func (s *Store) Create(d chunk.Digest, size int64) (chunk.Object, error) {
	if size < 0 || size > chunk.MaxObject {
		return nil, fmt.Errorf("create %s of %d bytes: %w", d, size, chunk.ErrSize)
	}
	h, err := s.create(d, size, (*object).load)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// create is Create with another way to load the object.
func (s *Store) create(d chunk.Digest, size int64, load func(*object) (*files, error)) (*handle, error) {
	for {
		o, err := s.acquire(d, size)
		if err != nil {
			return nil, fmt.Errorf("create %s: %w", d, err)
		}
		h, err := s.attach(o, load)
		switch {
		case errors.Is(err, errDamaged):
			<-o.gone // its last user removes it; then there is room for a new one
		case err != nil:
			return nil, fmt.Errorf("create %s: %w", d, err)
		case o.size == size:
			return h, nil
		case !s.replaceable(h):
			h.Close()
			return nil, fmt.Errorf("create %s of %d bytes, it has %d: %w", d, size, o.size, chunk.ErrSize)
		default:
			h.Close()
			if err := s.remove(d, false); err != nil && !errors.Is(err, chunk.ErrNotFound) && !errors.Is(err, chunk.ErrInUse) {
				return nil, fmt.Errorf("create %s: %w", d, err)
			}
		}
	}
}

// replaceable tells whether nothing speaks for h's object but h.
func (s *Store) replaceable(h *handle) bool {
	if _, _, sealed := h.Sealed(); sealed {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return h.object.handles == 1
}

// acquire counts a user of d's object. With a size of 0 or more it makes one
// when there is none. It waits for an object that is being removed to be gone.
func (s *Store) acquire(d chunk.Digest, size int64) (*object, error) {
	for {
		s.mu.Lock()
		if s.closed.Load() {
			s.mu.Unlock()
			return nil, chunk.ErrClosed
		}
		o, ok := s.objects[d]
		if ok && o.removing && size >= 0 {
			s.mu.Unlock()
			<-o.gone
			continue
		}
		if !ok && size >= 0 {
			o = newObject(s, d, size)
			o.fresh = true
			s.insert(o)
			ok = true
		}
		if ok = ok && !o.removing; ok {
			o.handles++
			o.used = time.Now()
		}
		s.mu.Unlock()
		if !ok {
			return nil, chunk.ErrNotFound
		}
		return o, nil
	}
}

// insert puts o into the table. The lock is held.
func (s *Store) insert(o *object) {
	s.objects[o.digest] = o
	s.metrics.objects.Set(float64(len(s.objects)))
}

// attach makes a handle for a user that acquire counted; on an error it is
// counted no longer.
func (s *Store) attach(o *object, load func(*object) (*files, error)) (*handle, error) {
	f, err := load(o)
	if err != nil {
		s.release(o)
		return nil, err
	}
	return &handle{object: o, files: f}, nil
}

// release takes back what acquire counted.
func (s *Store) release(o *object) {
	s.mu.Lock()
	o.handles--
	last := o.handles == 0
	s.mu.Unlock()
	if last {
		o.settle()
	}
}

// Remove implements chunk.Store.
func (s *Store) Remove(d chunk.Digest) error { return s.remove(d, true) }

// remove is Remove; one of another size than its name proves goes whether it is
// pinned or not.
func (s *Store) remove(d chunk.Digest, heedPins bool) error {
	s.mu.Lock()
	o, ok := s.objects[d]
	var err error
	switch {
	case s.closed.Load():
		err = chunk.ErrClosed
	case !ok || o.removing:
		err = chunk.ErrNotFound
	case o.handles > 0, heedPins && s.pinned.has(d):
		err = chunk.ErrInUse
	default:
		o.removing = true
	}
	s.mu.Unlock()
	if err == nil {
		_, err = o.discard()
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", d, err)
	}
	return nil
}

// Objects implements chunk.Store. Chunks that a crash left in doubt are not
// counted before they were checked.
func (s *Store) Objects() []chunk.Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := make([]chunk.Info, 0, len(s.objects))
	for _, o := range s.objects {
		if !o.removing {
			infos = append(infos, o.info())
		}
	}
	return infos
}

// Usage implements chunk.Store.
func (s *Store) Usage() chunk.Usage {
	free, err := s.free()
	if err != nil {
		free = -1
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return chunk.Usage{
		Objects: len(s.objects), Bytes: s.bytes.Load(), Quota: s.cfg.Quota,
		Free: free, Evicted: s.evicted.Load(),
	}
}

// Room is the most bytes that the store can come to hold, whatever it holds now:
// its quota, or less if the disk has less above the floor; -1 is no bound.
func (s *Store) Room() int64 {
	room := int64(-1)
	if s.cfg.Quota > 0 {
		room = s.cfg.Quota
	}
	free, err := s.free()
	if err != nil || free < 0 {
		return room
	}
	if disk := max(0, s.bytes.Load()+free-s.cfg.MinFree); room < 0 || disk < room {
		room = disk
	}
	return room
}

// charge counts n more bytes of content, or fewer, and gives the sum.
func (s *Store) charge(n int64) int64 {
	total := s.bytes.Add(n)
	s.metrics.bytes.Set(float64(total))
	return total
}

// Close implements chunk.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed.Swap(true) {
		s.mu.Unlock()
		return chunk.ErrClosed
	}
	objects := make([]*object, 0, len(s.objects))
	for _, o := range s.objects {
		objects = append(objects, o)
	}
	ingests := slices.Collect(maps.Keys(s.ingests))
	s.mu.Unlock()

	s.stop()
	s.tasks.Wait()
	var errs []error
	for _, in := range ingests {
		errs = append(errs, in.Abort())
	}
	for _, o := range objects {
		errs = append(errs, o.shut())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}
