//go:build linux

package lazyfs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/fuse"
	"github.com/shoal-project/shoal/internal/lazyfs/content"
	"github.com/shoal-project/shoal/internal/mounter"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// Peer is what is asked of the node's peer; a [nodeapi.Client] is one.
type Peer interface {
	content.Peer
	Open(ctx context.Context, r nodeapi.OpenRequest, tell func(nodeapi.Progress)) (*nodeapi.Image, error)
	Pin(ctx context.Context, name string, objects []chunk.Digest) error
	Unpin(ctx context.Context, name string, free bool) error
	Store(ctx context.Context) (dir string, err error)
	Bytes(ctx context.Context, objects []chunk.Digest) (map[string]int64, error)
	Why(ctx context.Context, ranges []nodeapi.Range) ([]string, error)
}

// Config says where a daemon keeps its things, and how it works.
type Config struct {
	DataDir string // records and scratch directories
	RunDir  string // the file system is mounted in it
	Fill    bool   // bring the rest of mounted images
	// Graduate has the kernel itself serve what is complete, where it is mounted anew.
	Graduate bool
	// KernelTree has the kernel read images' trees itself, and ask this daemon for the
	// bytes of objects alone. Mount is the program that runs [mounter.Main] for it, and
	// its arguments, the first of which is the process's name.
	KernelTree bool
	Mount      []string
	Content    content.Config
	FUSE       fuse.Config
	Resume     Resume
	// Grace is how long the kernel may take to let go at the end.
	Grace time.Duration
}

var _ Peer = (*nodeapi.Client)(nil)

// Daemon serves images.
type Daemon struct {
	cfg     Config
	peer    Peer
	log     *slog.Logger
	fs      *fuse.FS
	table   *content.Table
	records records
	events  events
	locked  *os.File
	session *session
	mounter *mounter.Mounter
	store   atomic.Pointer[string] // the directory of the peer's store

	ctx   context.Context // of fills and errands
	stop  context.CancelFunc
	tasks sync.WaitGroup
	kick  chan struct{} // there are errands

	tookOver bool            // the mounts are those of an earlier daemon
	serving  sync.WaitGroup  // the kernel is answered
	ending   context.Context // ends when the daemon is told to end, see shutdown.go
	end      context.CancelFunc
	complete atomic.Bool // the end is to leave no mount
	native   atomic.Bool // not even a native one

	mu      sync.Mutex
	images  map[chunk.Digest]*image // by tree
	waiting []*Record               // recorded, and not served: to be restored, or to be unpinned
	lastID  uint32
	// restoring is while what an earlier daemon mounted is taken over.
	restoring bool
}

// image is one that is served.
type image struct {
	record  *Record
	tree    *tree
	content *content.Image
	served  *fuse.Image
	pinned  bool
	native  bool // the kernel serves it below nativeRoot, too
	refused bool // the kernel cannot, and that was said
	// kernelTree is when the kernel reads the tree below treeRoot, refusedTree when it
	// cannot, and that was said.
	kernelTree, refusedTree bool
	filled                  context.CancelFunc // ends the fill
	filling                 sync.WaitGroup
}

// New makes a daemon; Run serves. It needs to be alone with its directories.
func New(cfg Config, peer Peer, log *slog.Logger, reg prometheus.Registerer) (*Daemon, error) {
	d := &Daemon{
		cfg: cfg, peer: peer, log: log, records: records{filepath.Join(cfg.DataDir, "images")},
		images: map[chunk.Digest]*image{}, kick: make(chan struct{}, 1),
	}
	d.mounter = mounter.New(cfg.Mount...)
	d.session = &session{dir: filepath.Join(cfg.RunDir, "session"), Resume: cfg.Resume}
	// The directory of the mount is left alone: an earlier daemon's may be there, which
	// nobody serves yet.
	for _, dir := range []string{cfg.DataDir, d.session.dir, d.scratchDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("making %s: %w; run as root, or set data_dir and run_dir", dir, err)
		}
	}
	var err error
	if d.locked, err = lock(cfg.DataDir); err != nil {
		return nil, err
	}
	if d.fs, err = fuse.New(cfg.FUSE, log, fuse.NewMetrics(reg)); err != nil {
		return nil, errors.Join(err, d.locked.Close())
	}
	d.loadStore()
	d.table = content.New(cfg.Content, peer, d.storeDir, log, content.NewMetrics(reg))
	d.session.register(reg)
	d.ctx, d.stop = context.WithCancel(context.Background())
	d.ending, d.end = context.WithCancel(context.Background())
	return d, nil
}

// mountDir is where the file system is mounted, a directory an image.
func (d *Daemon) mountDir() string { return filepath.Join(d.cfg.RunDir, "images") }

func (d *Daemon) scratchDir() string { return filepath.Join(d.cfg.DataDir, "scratch") }

// imageDir is where an image is before it is bound to anybody's directory.
func (d *Daemon) imageDir(r *Record) string {
	return filepath.Join(d.mountDir(), r.Image.Tree.Hex())
}

// pinName is what an image's objects are kept under in the peer's store.
func pinName(tree chunk.Digest) string { return "lazyfs-" + tree.Hex() }

// peerFile remembers where the peer's store is, for a start without the peer.
type peerFile struct {
	Store string `json:"store"`
}

func (d *Daemon) storeDir() string { return *d.store.Load() }

func (d *Daemon) loadStore() {
	var known peerFile
	if err := readJSON(d.peerFile(), &known); err != nil && !errors.Is(err, os.ErrNotExist) {
		d.log.Warn("reading where the peer's store is", "error", err)
	}
	d.store.Store(&known.Store)
}

func (d *Daemon) peerFile() string { return filepath.Join(d.cfg.DataDir, "peer.json") }

// learnStore asks the peer where its store is.
func (d *Daemon) learnStore(ctx context.Context) error {
	dir, err := d.peer.Store(ctx)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("the peer's store is at %q, which is not an absolute path; set its data_dir to one", dir)
	}
	if dir == d.storeDir() {
		return nil
	}
	d.store.Store(&dir)
	return writeJSON(d.peerFile(), peerFile{dir})
}
