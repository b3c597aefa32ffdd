//go:build linux

package system

import (
	"context"
	"errors"
	"os"
	"path/filepath"
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
	supernode *Supernode
	peers     []daemon
}

// StartCluster starts the daemons and waits until all are ready.
func StartCluster(ctx context.Context, config ClusterConfig) (*Cluster, error) {
	c := &Cluster{config: config}
	var err error
	c.supernode, err = StartSupernode(ctx, SupernodeConfig{
		Name: config.Name, Mode: config.Mode, Security: config.Security, FirstPort: config.FirstPort,
		Origin: config.Origin, Binaries: config.Binaries, Host: config.Supernode,
	})
	if err != nil {
		return nil, err
	}
	c.Supernode = c.supernode.Process
	if err := c.startPeers(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) startPeers(ctx context.Context) error {
	c.Peers = make([]*lab.Process, len(c.config.Peers))
	errs := make([]error, len(c.config.Peers))
	var starting sync.WaitGroup
	for i, host := range c.config.Peers {
		d := daemon{
			host: host, dir: filepath.Join(host.Dir(), c.config.Name),
			binary: c.config.Binaries.Peer, admin: loopback(c.config.FirstPort + peerAdmin),
		}
		c.peers = append(c.peers, d)
		starting.Go(func() { c.Peers[i], errs[i] = c.supernode.startPeer(ctx, d, c.config.FirstPort) })
	}
	starting.Wait()
	return errors.Join(errs...)
}

// startPeer starts a peer of the supernode's network, whose origin and chunk
// transport are the supernode's.
func (s *Supernode) startPeer(ctx context.Context, d daemon, firstPort uint16) (*lab.Process, error) {
	conf := d.common(s.config.Origin, nil)
	conf["network_key"] = s.key
	conf["supernode"] = settings{"address": []string{s.address}}
	conf["registry"] = settings{"listen": loopback(firstPort + peerRegistry)}
	conf["control"] = settings{"listen": d.host.At(firstPort + peerControl).String()}
	conf["exchange"] = settings{"listen": d.host.At(firstPort + peerChunks).String(), "security": s.config.Security}
	if err := d.writeConfig(conf); err != nil {
		return nil, err
	}
	return d.start(ctx)
}

// Job turns a pull from the origin into the same pull through the peer of the
// client's own host.
func (c *Cluster) Job(direct client.Job) client.Job {
	return through(direct, c.config.FirstPort, c.config.Origin)
}

// Save copies every daemon's log and present metrics into dir.
func (c *Cluster) Save(ctx context.Context, dir string) error {
	return save(ctx, dir, append([]daemon{c.supernode.daemon}, c.peers...)...)
}

// Stop ends the daemons and deletes their stores.
func (c *Cluster) Stop() error {
	errs := make([]error, len(c.Peers))
	var stopping sync.WaitGroup
	for i, p := range c.Peers {
		if p != nil {
			stopping.Go(func() { errs[i] = p.Stop() })
		}
	}
	stopping.Wait()
	for _, d := range c.peers {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	return errors.Join(append(errs, c.supernode.Stop())...)
}
