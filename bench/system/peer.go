//go:build linux

package system

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/shoal-project/shoal/bench/client"
	"github.com/shoal-project/shoal/bench/lab"
)

// PeerConfig describes a peer that works alone, with no supernode.
type PeerConfig struct {
	Name      string // of its directory
	FirstPort uint16 // it listens on this and the next 20 ports
	Origin    string // host:port of the registry
	Binaries  Binaries
	Host      *lab.Host
}

// Peer is a running peer that works alone.
type Peer struct {
	*lab.Process
	config PeerConfig
	dir    string
}

// StartPeer starts a peer and waits until it is ready.
func StartPeer(ctx context.Context, config PeerConfig) (*Peer, error) {
	d := daemon{
		host: config.Host, dir: filepath.Join(config.Host.Dir(), config.Name),
		binary: config.Binaries.Peer, admin: loopback(config.FirstPort + peerAdmin),
	}
	s := d.common(config.Origin, nil)
	s["registry"] = settings{"listen": loopback(config.FirstPort + peerRegistry)}
	s["control"] = settings{"listen": loopback(config.FirstPort + peerControl)}
	s["exchange"] = settings{"listen": loopback(config.FirstPort + peerChunks)}
	if err := d.writeConfig(s); err != nil {
		return nil, err
	}
	process, err := d.start(ctx)
	if err != nil {
		return nil, err
	}
	return &Peer{Process: process, config: config, dir: d.dir}, nil
}

// Job turns a pull from the origin into the same pull through the peer.
func (p *Peer) Job(direct client.Job) client.Job {
	return through(direct, p.config.FirstPort, p.config.Origin)
}

// Stop ends the peer and deletes its store.
func (p *Peer) Stop() error { return errors.Join(p.Process.Stop(), os.RemoveAll(p.dir)) }

// through names the origin to the peer on the client's own host as containerd
// names it to a mirror.
func through(direct client.Job, firstPort uint16, origin string) client.Job {
	direct.Base, direct.Namespace = "http://"+loopback(firstPort+peerRegistry), origin
	return direct
}
