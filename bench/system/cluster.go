//go:build linux

package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/shoal-project/shoal/bench/client"
	"github.com/shoal-project/shoal/bench/lab"
)

// ClusterConfig describes one Shoal cluster of a supernode and peers.
type ClusterConfig struct {
	Name      string // of its directories; distinct for clusters on the same hosts
	Mode      string // origin mode: supernode or spread
	Security  string // chunk transport: tls or clear
	FirstPort uint16 // its daemons listen on this and the next 20 ports
	Origin    string // host:port of the registry
	Binaries  Binaries
	Supernode *lab.Host
	Peers     []*lab.Host
}

// Cluster is a running supernode with its peers.
type Cluster struct {
	Supernode *lab.Process
	Peers     []*lab.Process
	config    ClusterConfig
	daemons   []daemon
}

// StartCluster starts the daemons and waits until all are ready.
func StartCluster(ctx context.Context, config ClusterConfig) (*Cluster, error) {
	c := &Cluster{config: config}
	d := c.daemon(config.Supernode, config.Binaries.Supernode, supernodeAdmin)
	key, err := c.makeKey(ctx, d)
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	supernode, err := c.startSupernode(ctx, d, key)
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	if err := c.startPeers(ctx, key, supernode); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// daemon describes one of the cluster's, and remembers it.
func (c *Cluster) daemon(host *lab.Host, binary string, admin uint16) daemon {
	d := daemon{host: host, dir: filepath.Join(host.Dir(), c.config.Name), binary: binary, admin: loopback(c.config.FirstPort + admin)}
	c.daemons = append(c.daemons, d)
	return d
}

// makeKey makes the network key. All hosts see one file system, so one file is
// enough.
func (c *Cluster) makeKey(ctx context.Context, d daemon) (string, error) {
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(d.dir, "network.key")
	if _, err := d.output(ctx, "key", "new", path); err != nil {
		return "", fmt.Errorf("making a network key: %w", err)
	}
	return path, nil
}

// startSupernode returns its address in the form that peers are configured with.
func (c *Cluster) startSupernode(ctx context.Context, d daemon, key string) (string, error) {
	control := c.config.Supernode.At(c.config.FirstPort + supernodeControl)
	s := d.common(c.config.Origin, settings{"mode": c.config.Mode})
	s["network_key"] = key
	s["control"] = settings{"listen": control.String()}
	s["exchange"] = settings{"listen": c.config.Supernode.At(c.config.FirstPort + supernodeChunks).String(), "security": c.config.Security}
	s["origin"].(settings)["mode"] = c.config.Mode
	if err := d.writeConfig(s); err != nil {
		return "", err
	}
	var err error
	if c.Supernode, err = d.start(ctx); err != nil {
		return "", err
	}
	said, err := d.output(ctx, "id", "--config", d.configFile())
	if err != nil {
		return "", fmt.Errorf("asking for the supernode's identity: %w", err)
	}
	id, _, _ := strings.Cut(strings.TrimSpace(said), "@")
	return id + "@" + control.String(), nil
}

func (c *Cluster) startPeers(ctx context.Context, key, supernode string) error {
	c.Peers = make([]*lab.Process, len(c.config.Peers))
	errs := make([]error, len(c.config.Peers))
	var starting sync.WaitGroup
	for i, host := range c.config.Peers {
		d := c.daemon(host, c.config.Binaries.Peer, peerAdmin)
		starting.Go(func() { c.Peers[i], errs[i] = c.startPeer(ctx, d, key, supernode) })
	}
	starting.Wait()
	return errors.Join(errs...)
}

func (c *Cluster) startPeer(ctx context.Context, d daemon, key, supernode string) (*lab.Process, error) {
	s := d.common(c.config.Origin, nil)
	s["network_key"] = key
	s["supernode"] = settings{"address": []string{supernode}}
	s["registry"] = settings{"listen": loopback(c.config.FirstPort + peerRegistry)}
	s["control"] = settings{"listen": d.host.At(c.config.FirstPort + peerControl).String()}
	s["exchange"] = settings{"listen": d.host.At(c.config.FirstPort + peerChunks).String(), "security": c.config.Security}
	if err := d.writeConfig(s); err != nil {
		return nil, err
	}
	return d.start(ctx)
}

// Job turns a pull from the origin into the same pull through the peer of the
// client's own host.
func (c *Cluster) Job(direct client.Job) client.Job {
	return through(direct, c.config.FirstPort, c.config.Origin)
}

// Stop ends the daemons and deletes their stores.
func (c *Cluster) Stop() error {
	running := append([]*lab.Process{c.Supernode}, c.Peers...)
	errs := make([]error, len(running))
	var stopping sync.WaitGroup
	for i, p := range running {
		if p != nil {
			stopping.Go(func() { errs[i] = p.Stop() })
		}
	}
	stopping.Wait()
	for _, d := range c.daemons {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(errs...)
}
