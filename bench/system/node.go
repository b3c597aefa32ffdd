//go:build linux

package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/internal/lazyfs"
)

// NodeConfig describes a node that mounts images: a peer and a lazy file system.
type NodeConfig struct {
	Dir       string // of all its files; Stop deletes it
	FirstPort uint16 // its daemons listen on this and the next 20 ports
	Binaries  Binaries
	Host      *lab.Host
	Supernode *Supernode
	NoFill    bool // bring nothing but what is read
}

// Node is a running node.
type Node struct {
	Peer, LazyFS *lab.Process
	config       NodeConfig
	peer, lazyfs daemon
}

// lazyfsAdmin follows the peer's ports.
const lazyfsAdmin = peerAdmin + 1

// StartNode starts the daemons with nothing in their stores and waits until
// both are ready.
func StartNode(ctx context.Context, config NodeConfig) (*Node, error) {
	n := &Node{config: config}
	of := func(name, binary string, port uint16) daemon {
		return daemon{host: config.Host, dir: filepath.Join(config.Dir, name), binary: binary, admin: loopback(config.FirstPort + port)}
	}
	n.peer = of("peer", config.Binaries.Peer, peerAdmin)
	n.lazyfs = of("lazyfs", config.Binaries.LazyFS, lazyfsAdmin)
	if err := n.begin(ctx); err != nil {
		return nil, errors.Join(err, n.Stop())
	}
	return n, nil
}

func (n *Node) begin(ctx context.Context) (err error) {
	if n.Peer, err = n.config.Supernode.startPeer(ctx, n.peer, n.config.FirstPort); err != nil {
		return err
	}
	d := n.lazyfs
	err = d.writeConfig(settings{
		"data_dir": filepath.Join(d.dir, "data"),
		"run_dir":  filepath.Join(d.dir, "run"),
		"peer":     settings{"socket": filepath.Join(n.peer.dir, socketName)},
		"admin":    settings{"listen": d.admin, "socket": filepath.Join(d.dir, socketName)},
		"fill":     settings{"enabled": !n.config.NoFill},
		"resume":   settings{"enabled": false}, // it leaves nothing behind
	})
	if err != nil {
		return err
	}
	n.LazyFS, err = d.start(ctx)
	return err
}

// Snapshotter is the socket of its snapshotter for containerd.
func (n *Node) Snapshotter() string { return filepath.Join(n.lazyfs.dir, "run", "snapshotter.sock") }

// Registry is the address of its peer's registry proxy, on its host.
func (n *Node) Registry() string { return loopback(n.config.FirstPort + peerRegistry) }

// Mount mounts an image on an empty directory, with flags of lazyfs mount.
func (n *Node) Mount(ctx context.Context, image, dir string, flags ...string) error {
	args := []string{"mount", "--config", n.lazyfs.configFile(), "--quiet", image, dir}
	_, err := n.lazyfs.output(ctx, append(args, flags...)...)
	return err
}

// Unmount takes a mount away.
func (n *Node) Unmount(ctx context.Context, dir string) error {
	_, err := n.lazyfs.output(ctx, "unmount", "--config", n.lazyfs.configFile(), dir)
	return err
}

// Status is what the lazy file system tells of itself.
func (n *Node) Status(ctx context.Context) (s lazyfs.Status, err error) {
	text, err := n.lazyfs.output(ctx, "status", "--config", n.lazyfs.configFile(), "--json")
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("the status of lazyfs: %w", err)
	}
	return s, nil
}

// Data are the directories of what its daemons keep.
func (n *Node) Data() []string {
	return []string{filepath.Join(n.peer.dir, "data"), filepath.Join(n.lazyfs.dir, "data")}
}

// leaveNothing has the lazy file system unmount everything: a mere signal leaves its
// mounts to the next one.
func (n *Node) leaveNothing() error {
	if n.LazyFS == nil {
		return nil
	}
	select {
	case <-n.LazyFS.Done():
		return nil
	default:
	}
	_, err := n.lazyfs.output(context.Background(), "shutdown", "--config", n.lazyfs.configFile(), "--native", "--force")
	return err
}

// Save copies the daemons' logs and present metrics into dir.
func (n *Node) Save(ctx context.Context, dir string) error { return save(ctx, dir, n.peer, n.lazyfs) }

// Stop ends the daemons, the file system first, and deletes their files.
func (n *Node) Stop() error {
	errs := []error{n.leaveNothing()}
	for _, p := range []*lab.Process{n.LazyFS, n.Peer} {
		if p != nil {
			errs = append(errs, p.Stop())
		}
	}
	if err := UnmountBelow(n.config.Dir); err != nil {
		return errors.Join(append(errs, err)...) // never delete through a mount
	}
	return errors.Join(append(errs, os.RemoveAll(n.config.Dir))...)
}
