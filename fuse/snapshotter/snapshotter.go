//go:build linux

package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// Config are a snapshotter's settings.
type Config struct {
	// Root is the directory that all lies in, on a file system that overlayfs can
	// write to. kubelet's accounting of disk space looks at the disk of
	// /var/lib/containerd/io.containerd.snapshotter.v1.NAME, or at what containerd's
	// configuration says in exports.root: it should be this one.
	Root string
	// Patience is how long a pull waits for an image to become lazy while nothing
	// comes, and a container for a view that is not held yet. More: images that take long to be made ready are lazy at their first
	// pull. Less: a pull that cannot be lazy starts sooner.
	Patience time.Duration
}

// Snapshotter serves containerd's snapshots.
type Snapshotter struct {
	cfg     Config
	images  Images
	log     *slog.Logger
	metrics *metrics
	store   *store
	options []string // of every overlay
	server  *grpc.Server

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	tasks   sync.WaitGroup
	closing sync.Once
	closed  error

	mu       sync.Mutex
	openings map[string]*opening
	pulls    int

	targets locks // one pull of a layer at a time
	holds   locks // one change of what a snapshot holds at a time
}

var errClosed = fmt.Errorf("the snapshotter is going down; try again: %w", errUnavailable)

// New opens a snapshotter's directory, or makes it, and lets go of what nothing
// refers to. images must know by now what it holds. Close must follow.
func New(cfg Config, images Images, log *slog.Logger, reg prometheus.Registerer) (*Snapshotter, error) {
	if err := checkRoot(cfg.Root, log); err != nil {
		return nil, err
	}
	db, err := openStore(filepath.Join(cfg.Root, "metadata.db"))
	if err != nil {
		return nil, err
	}
	s := &Snapshotter{
		cfg: cfg, images: images, log: log, metrics: newMetrics(reg), store: db, options: overlayOptions(),
		server: grpc.NewServer(), openings: map[string]*opening{},
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	if err := s.reconcile(); err != nil {
		s.stop()
		return nil, errors.Join(err, db.db.Close())
	}
	s.Register(s.server)
	return s, nil
}

// checkRoot makes the root directory, if overlayfs can name it.
func checkRoot(root string, log *slog.Logger) error {
	if !filepath.IsAbs(root) || strings.ContainsAny(root, `:,\`) {
		return fmt.Errorf("the snapshots' directory %q must be an absolute path without colons, commas and backslashes", root)
	}
	if err := os.MkdirAll(filepath.Join(root, "snapshots"), 0o700); err != nil {
		return fmt.Errorf("making the snapshots' directory: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(root, &fs); err != nil {
		return fmt.Errorf("the snapshots' directory: %w", err)
	}
	switch fs.Type {
	case unix.OVERLAYFS_SUPER_MAGIC, unix.FUSE_SUPER_MAGIC, unix.NFS_SUPER_MAGIC:
		log.Warn("containers cannot write to snapshots here: overlayfs needs a local file system of its own; set snapshotter.root to a directory on one", "directory", root)
	}
	return nil
}

// Register adds the service to a server of the caller's, who stops it before
// Close.
func (s *Snapshotter) Register(r grpc.ServiceRegistrar) {
	api.RegisterSnapshotsServer(r, service{s: s})
}

// Serve serves a listener until Close.
func (s *Snapshotter) Serve(l net.Listener) error {
	if err := s.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("serving snapshots: %w", err)
	}
	return nil
}

// grace is how long requests under way may take when the snapshotter closes; what
// they wait for ends at once.
const grace = 5 * time.Second

// Close ends what is under way and closes the database. Mounts stay.
func (s *Snapshotter) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.stop()
		s.mu.Unlock()
		timer := time.AfterFunc(grace, s.server.Stop)
		s.server.GracefulStop()
		timer.Stop()
		s.tasks.Wait()
		s.closed = s.store.db.Close()
	})
	return s.closed
}

// during is ctx that also ends with Close.
func (s *Snapshotter) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	detach := context.AfterFunc(s.ctx, func() { cancel(errClosed) })
	return ctx, func() { detach(); cancel(nil) }
}

// ended tells why a request must not go on, as its failures are no verdict on an
// image then.
func (s *Snapshotter) ended(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return errClosed
	}
	return context.Cause(ctx)
}

// overlayOptions are containerd's own for overlayfs here.
func overlayOptions() (options []string) {
	// Only in a user namespace may overlayfs not keep its marks in trusted.*.
	if ids, err := os.ReadFile("/proc/self/uid_map"); err == nil {
		if fields := strings.Fields(string(ids)); len(fields) > 2 && strings.Join(fields[:3], " ") != "0 0 4294967295" {
			options = append(options, "userxattr")
		}
	}
	// With an index overlayfs refuses a lower directory that another overlay had.
	if _, err := os.Stat("/sys/module/overlay/parameters/index"); err == nil {
		options = append(options, "index=off")
	}
	return options
}
