//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/bench/system"
	"github.com/shoal-project/shoal/internal/cri"
	"github.com/shoal-project/shoal/internal/lazyfs"
)

// The ways to have an image's tree on the node.
const (
	wayLazy       = "lazy"             // its map was made beforehand
	wayDemand     = "lazy, no fill"    // the same, and only what is read is fetched
	wayNothing    = "lazy, never seen" // nobody of the cluster has seen it
	wayContainerd = "containerd"       // pull and unpack to overlayfs
	wayTar        = "curl | tar"       // to a directory, a layer after the other
	wayCurl       = "curl"             // one blob, thrown away
	wayExt4       = "ext4"             // a directory, unpacked before
	wayOverlay    = "overlay on ext4"  // as containerd gives it to a container
	wayNative     = "overlay on EROFS" // the same of a complete image, of which lazyfs serves nothing
	nodePort      = 7600               // of the node's daemons
	sealedPort    = 7400               // of the supernode that has seen everything
	nothingPort   = 7500               // of one that has seen nothing
)

// way is one way to have an image's tree on the node, once.
type way interface {
	// prepare makes everything fresh, and is not timed.
	prepare(ctx context.Context) error
	// open gives the root directory of the image's tree.
	open(ctx context.Context, s *subject) (root string, err error)
	// daemons are what runs on the node for it, by the figure of their processor
	// time.
	daemons() map[string]*lab.Process
	// close ends and deletes everything.
	close() error
}

func (b *bench) way(name string) way {
	dir := filepath.Join(b.scratch, "way")
	switch name {
	case wayContainerd:
		return &containerdWay{host: b.node, dir: dir}
	case wayTar:
		return &tarWay{host: b.node, dir: dir, registry: b.registry.Addr().String()}
	}
	return &lazyWay{b: b, dir: dir, nothing: name == wayNothing, noFill: name == wayDemand}
}

// lazyWay mounts an image through a peer and a lazy file system of its own.
type lazyWay struct {
	b       *bench
	dir     string
	nothing bool // with a supernode of its own
	noFill  bool

	supernode *system.Supernode
	node      *system.Node
	mounts    int
}

func (w *lazyWay) prepare(ctx context.Context) (err error) {
	w.supernode = w.b.sealed
	if w.nothing {
		if w.supernode, err = w.b.startSupernode(ctx, "nothing", nothingPort); err != nil {
			return err
		}
	}
	w.node, err = system.StartNode(ctx, system.NodeConfig{
		Dir: filepath.Join(w.dir, "node"), FirstPort: nodePort, Binaries: w.b.binaries, Host: w.b.node,
		Supernode: w.supernode, NoFill: w.noFill,
	})
	return err
}

func (w *lazyWay) open(ctx context.Context, s *subject) (string, error) {
	return w.mount(ctx, s)
}

// untilThere has a mount wait until all of the image is on the node.
const untilThere = "--wait"

// mount mounts an image on a directory of its own.
func (w *lazyWay) mount(ctx context.Context, s *subject, flags ...string) (string, error) {
	w.mounts++
	root := w.lastMount()
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	return root, w.node.Mount(ctx, s.reference, root, flags...)
}

// allComplete is an error unless all images are on the node: a wait that ended too
// soon would look like speed.
func (w *lazyWay) allComplete(ctx context.Context) error {
	s, err := w.node.Status(ctx)
	if err != nil {
		return err
	}
	for _, i := range s.Images {
		if i.State != lazyfs.StateComplete || i.Present != i.Bytes {
			return fmt.Errorf("%s is %s after the wait: %d of %d bytes are there", i.Reference, i.State, i.Present, i.Bytes)
		}
	}
	return nil
}

// lastMount is the directory of the last mount.
func (w *lazyWay) lastMount() string { return filepath.Join(w.dir, fmt.Sprintf("mount%d", w.mounts)) }

func (w *lazyWay) daemons() map[string]*lab.Process {
	return map[string]*lab.Process{cpuPeer: w.node.Peer, cpuLazyFS: w.node.LazyFS, cpuSupernode: w.supernode.Process}
}

func (w *lazyWay) close() error {
	var errs []error
	if w.node != nil {
		errs = append(errs, w.node.Stop())
	}
	if w.nothing && w.supernode != nil {
		errs = append(errs, w.supernode.Stop())
	}
	return errors.Join(append(errs, removeScratch(w.dir))...)
}

// containerdWay pulls and unpacks with containerd.
type containerdWay struct {
	host       *lab.Host
	dir        string
	containerd *system.Containerd
}

func (w *containerdWay) prepare(ctx context.Context) (err error) {
	w.containerd, err = system.StartContainerd(ctx, w.host, cri.Containerd{Dir: filepath.Join(w.dir, "containerd")})
	return err
}

func (w *containerdWay) open(ctx context.Context, s *subject) (string, error) {
	root := filepath.Join(w.dir, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", err
	}
	if err := w.containerd.Pull(ctx, s.reference); err != nil {
		return "", err
	}
	return root, w.containerd.Mount(ctx, s.reference, root)
}

func (w *containerdWay) daemons() map[string]*lab.Process {
	return map[string]*lab.Process{cpuContainerd: w.containerd.Process}
}

func (w *containerdWay) close() error {
	err := system.UnmountBelow(w.dir)
	if w.containerd != nil {
		err = errors.Join(err, w.containerd.Stop())
	}
	return errors.Join(err, removeScratch(w.dir))
}

// tarWay downloads one layer after another and unpacks it meanwhile.
type tarWay struct {
	host     *lab.Host
	dir      string
	registry string
}

func (w *tarWay) prepare(context.Context) error {
	return os.MkdirAll(filepath.Join(w.dir, "root"), 0o755)
}

func (w *tarWay) open(ctx context.Context, s *subject) (string, error) {
	root := filepath.Join(w.dir, "root")
	for _, layer := range s.layers {
		url := fmt.Sprintf("http://%s/v2/bench/%s/blobs/%s", w.registry, s.name, layer)
		script := `set -o pipefail; curl -sSf "$0" | tar -xz -C "$1"`
		if _, err := runIn(ctx, w.host, "bash", "-c", script, url, root); err != nil {
			return "", err
		}
	}
	return root, nil
}

func (w *tarWay) daemons() map[string]*lab.Process { return nil }

func (w *tarWay) close() error { return removeScratch(w.dir) }
