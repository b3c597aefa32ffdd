package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/assembly"
)

// startPatience bounds how long a daemon may take to be ready.
const startPatience = 30 * time.Second

// node is one daemon, in a process of its own.
type node struct {
	name   string
	cmd    *exec.Cmd
	client *admin.Client
	socket string
	log    string // file
}

// cluster is a supernode and its peers.
type cluster struct {
	bin       string
	dir       string
	common    []string // flags of every daemon of the swarm
	address   string   // the supernode's
	supernode *node
	peers     []*node
	others    []*node // peers that were started later
	lazyfs    *node
}

func startCluster(ctx context.Context, bin, dir, mode, registry string, peers int) (*cluster, error) {
	c := &cluster{bin: bin, dir: dir, common: []string{
		"--set", "control.listen=127.0.0.1:0", "--set", "exchange.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0",
		"--set", "origin.allow_private=" + registry, "--set", "store.min_free=0",
	}}
	var err error
	if c.supernode, err = c.start(ctx, "supernode", "supernode", append(c.common, "--origin-mode", mode)); err != nil {
		return c, err
	}
	s, err := c.supernode.status(ctx)
	if err != nil {
		return c, err
	}
	c.address = fmt.Sprintf("%s@%s", s.ID, s.Listen["control"])
	for i := range peers {
		n, err := c.startPeer(ctx, fmt.Sprintf("peer %d", i+1))
		if n != nil {
			c.peers = append(c.peers, n)
		}
		if err != nil {
			return c, err
		}
	}
	return c, c.joined(ctx, c.peers)
}

func (c *cluster) startPeer(ctx context.Context, name string) (*node, error) {
	return c.start(ctx, name, "peer", append(c.common, "--set", "registry.listen=127.0.0.1:0", "--supernode", c.address))
}

// start runs a daemon and waits until it answers. It gives the node also with
// an error, if the process runs.
func (c *cluster) start(ctx context.Context, name, program string, args []string) (*node, error) {
	n, err := c.spawn(name, program, args)
	if err != nil {
		return n, err
	}
	return n, n.await(ctx, func(assembly.Status) bool { return true })
}

// spawn runs a daemon in a directory of its own.
func (c *cluster) spawn(name, program string, args []string) (*node, error) {
	home := filepath.Join(c.dir, name)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	n := &node{name: name, socket: filepath.Join(home, "sock"), log: filepath.Join(home, "log")}
	n.client = admin.NewClient(n.socket)
	output, err := os.Create(n.log)
	if err != nil {
		return nil, err
	}
	defer output.Close() // the child has its own
	n.cmd = exec.Command(filepath.Join(c.bin, program), append([]string{"serve", "--data-dir", home, "--socket", n.socket}, args...)...)
	n.cmd.Stdout, n.cmd.Stderr = output, output
	n.cmd.SysProcAttr = childAttributes()
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w; run `make build` first", name, err)
	}
	return n, nil
}

// joined waits until the peers are connected to the supernode.
func (c *cluster) joined(ctx context.Context, peers []*node) error {
	for _, n := range peers {
		if err := n.await(ctx, func(s assembly.Status) bool { return s.Supernode.Connected }); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) await(ctx context.Context, ready func(assembly.Status) bool) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		s, err := n.status(ctx)
		if err == nil && ready(s) {
			return nil
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(n.log)
			return fmt.Errorf("%s does not come up: %w\n%s", n.name, errors.Join(err, context.Cause(ctx)), text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (n *node) status(ctx context.Context) (s assembly.Status, err error) {
	text, err := n.client.Status(ctx)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(text, &s)
}

// stop ends all daemons in order and waits for them: what stands on others first.
func (c *cluster) stop() error {
	nodes := append(append([]*node(nil), c.others...), c.peers...)
	if c.supernode != nil {
		nodes = append(nodes, c.supernode)
	}
	return errors.Join(end([]*node{c.lazyfs}), end(nodes))
}

// end ends daemons that do not need each other.
func end(nodes []*node) error {
	var errs []error
	for _, n := range nodes {
		if n == nil || n.cmd == nil || n.cmd.Process == nil {
			continue
		}
		// A Ctrl-C reached the whole process group already; that is as good.
		if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
	}
	for _, n := range nodes {
		if n == nil || n.cmd == nil || n.cmd.Process == nil {
			continue
		}
		if err := n.cmd.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("%s ended badly: %w", n.name, err))
		}
	}
	return errors.Join(errs...)
}
