package derive

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/layer"
)

// Config tunes a Deriver.
type Config struct {
	Dir string
	// Parallel is how many layers are read side by side.
	Parallel int
	Limits   layer.Limits
}

// Deps are a Deriver's parts.
type Deps struct {
	Objects distribution.Objects // blobs, from their origins
	Store   chunk.Store
	Key     ed25519.PrivateKey
	Log     *slog.Logger
	Metrics *Metrics
}

// Deriver makes trees.
type Deriver struct {
	cfg   Config
	deps  Deps
	known *known
	needs needs
	slots chan struct{} // one token for each layer being read

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex
	works map[string]*work
}

// Open prepares the directory. Close ends what runs.
func Open(cfg Config, deps Deps) (*Deriver, error) {
	for _, sub := range []string{"maps", "trees", "tmp"} {
		if err := os.MkdirAll(filepath.Join(cfg.Dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("remote images: %w", err)
		}
	}
	if err := emptyDir(filepath.Join(cfg.Dir, "tmp")); err != nil {
		return nil, fmt.Errorf("remote images: %w", err)
	}
	k, err := openKnown(filepath.Join(cfg.Dir, "known.db"), deps.Store)
	if err != nil {
		return nil, fmt.Errorf("remote images: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Deriver{
		cfg: cfg, deps: deps, known: k, slots: make(chan struct{}, max(1, cfg.Parallel)),
		ctx: ctx, stop: stop, works: map[string]*work{},
	}, nil
}

// Close stops what runs and waits for it. What was not finished begins anew the
// next time.
func (d *Deriver) Close() error {
	d.mu.Lock()
	d.stop()
	d.mu.Unlock()
	d.wg.Wait()
	return d.known.Close()
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}

// errClosed ends what waits when the Deriver ends.
var errClosed = errors.New("the daemon is shutting down")
