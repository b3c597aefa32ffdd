//go:build linux

package layerstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// Config are a store's settings.
type Config struct {
	Dir   string // of the records
	Mount string // where the store appears; it is made, and what is mounted there goes
	// Patience is how long a lookup waits for a layer to be there. More: layers that
	// take long to be made ready are lazy at their first pull. Less: a pull that
	// cannot be lazy starts sooner. What was begun goes on, for the next pull.
	Patience time.Duration
	// Idle is how long a layer stays that was looked at and is not used.
	Idle time.Duration
	// Recount is how long after a layer was last used or looked at its uses are
	// counted anew, in the storages that had it.
	Recount time.Duration
	// Guard is a program that runs [Guard] on its standard input, and its arguments,
	// the first of which is the process's name; the store's directory follows them.
	// Without one, a store whose process is killed stays mounted, and does not answer.
	Guard []string
}

// Default is fit for a node.
func Default() Config {
	return Config{Patience: 30 * time.Second, Idle: 5 * time.Minute, Recount: time.Hour}
}

// Store is a store of layers.
type Store struct {
	cfg     Config
	layers  Layers
	log     *slog.Logger
	records records
	server  *gofuse.Server
	alive   io.Closer // the guard's proof that this process is there

	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu      sync.Mutex
	found   map[name]*found
	lost    map[name]*record // used, and not held any more: held again when looked up
	finding map[name]*finding
	slow    map[string]time.Time // references whose layers took too long, and when
}

// found is a layer that is held.
type found struct {
	record  *record
	touched time.Time // looked at, used, or counted
}

// finding is a search under way.
type finding struct {
	done chan struct{}
	err  error // set before done closes
}

// userPrefix marks the users of this package.
const userPrefix = "layerstore/"

func userOf(n name) string { return userPrefix + n.id() }

// New reads the records and lets go of what they do not mention, and of layers
// that were not used. Layers must know by now what is held. Mount must follow, or
// Close.
func New(cfg Config, layers Layers, log *slog.Logger) (*Store, error) {
	s := &Store{
		cfg: cfg, layers: layers, log: log, records: records{cfg.Dir},
		found: map[name]*found{}, lost: map[name]*record{}, finding: map[name]*finding{}, slow: map[string]time.Time{},
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	recorded, err := s.records.load(func(path string, err error) {
		log.Error("a record of a layer cannot be used; remove the file if the layer is not needed", "file", path, "error", err)
	})
	if err != nil {
		s.stop()
		return nil, err
	}
	if err := s.reconcile(recorded); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// reconcile has all used layers held, and no others.
func (s *Store) reconcile(recorded []*record) error {
	users := s.layers.Users()
	var errs []error
	for _, r := range recorded {
		user := userOf(r.Name)
		switch {
		case r.Uses == 0:
			errs = append(errs, s.records.remove(r.Name))
			continue
		case !slices.Contains(users, user):
			s.lost[r.Name] = r
			continue
		}
		s.found[r.Name] = &found{record: r, touched: time.Now()}
		users = slices.DeleteFunc(users, func(u string) bool { return u == user })
	}
	for _, user := range users {
		if strings.HasPrefix(user, userPrefix) {
			errs = append(errs, s.layers.Release(s.ctx, user))
		}
	}
	return errors.Join(errs...)
}

// find gives a layer, which is held then. It has it opened, and waits for that as
// long as patience allows.
func (s *Store) find(n name) (*found, error) {
	s.mu.Lock()
	f := s.found[n]
	if f != nil {
		f.touched = time.Now()
		s.mu.Unlock()
		return f, nil
	}
	task := s.finding[n]
	if task == nil {
		if s.ctx.Err() != nil {
			s.mu.Unlock()
			return nil, context.Cause(s.ctx)
		}
		task = &finding{done: make(chan struct{})}
		s.finding[n] = task
		s.tasks.Go(func() { s.search(n, task) })
	}
	patience := s.patience(n.Reference)
	s.mu.Unlock()
	return s.wait(n, task, patience)
}

// patience is none for an image of which a layer took too long just now: an engine
// looks up one after the other, and would wait for each. s.mu is held.
func (s *Store) patience(reference string) time.Duration {
	for r, at := range s.slow {
		if time.Since(at) > s.cfg.Patience {
			delete(s.slow, r)
		}
	}
	if _, slow := s.slow[reference]; slow {
		return 0
	}
	return s.cfg.Patience
}

func (s *Store) wait(n name, task *finding, patience time.Duration) (*found, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-task.done:
		if task.err != nil {
			return nil, task.err
		}
	case <-timer.C:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.slow[n.Reference] = time.Now()
		return nil, fmt.Errorf("it is not there after %v; it will be lazy when it is pulled again later", patience)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.found[n]; f != nil {
		return f, nil
	}
	return nil, ErrUnknown // let go again meanwhile
}

// search finds a layer and has it held.
func (s *Store) search(n name, task *finding) {
	r, err := s.hold(n)
	if err != nil {
		s.log.Info("a layer is not lazy; whoever asked pulls it", "image", n.Reference, "layer", n.Digest.String(), "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.finding, n)
	if err == nil {
		s.found[n] = &found{record: r, touched: time.Now()}
		delete(s.lost, n)
	}
	task.err = err
	close(task.done)
}

func (s *Store) hold(n name) (*record, error) {
	r, err := s.recordOf(n)
	if err != nil {
		return nil, err
	}
	if r.Plain, err = s.layers.Hold(s.ctx, userOf(n), r.Layer); err != nil {
		return nil, err
	}
	if err := s.records.save(r); err != nil {
		return nil, errors.Join(err, s.layers.Release(s.ctx, userOf(n)))
	}
	return r, nil
}

// recordOf is the record that there is of a layer, or a new one.
func (s *Store) recordOf(n name) (*record, error) {
	s.mu.Lock()
	lost := s.lost[n]
	s.mu.Unlock()
	if lost != nil {
		again := *lost
		return &again, nil
	}
	layer, err := s.layers.Find(s.ctx, n.Reference, n.Digest)
	if err != nil {
		return nil, err
	}
	return &record{Version: recordVersion, Name: n, Layer: layer}, nil
}

// Close unmounts the store and ends what is under way. Layers stay held, for the
// next Store.
func (s *Store) Close() error {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	err := errors.Join(s.unmount(), s.dismiss())
	s.tasks.Wait()
	return err
}
