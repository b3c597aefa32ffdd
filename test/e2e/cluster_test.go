//go:build e2e && linux

package e2e

import (
	"strings"
	"testing"

	"github.com/shoal-project/shoal/distribution"
)

// supernode is a running supernode and what its peers must know of it.
type supernode struct {
	*node
	address    string // ID@host:port
	networkKey string // file
}

// edit changes a node's settings before it starts.
type edit func(settings)

// with is an edit of one key.
func with(key string, value any) edit { return func(s settings) { s.put(key, value) } }

func startSupernode(t testing.TB, at place, mode distribution.OriginMode, reach registries, edits ...edit) *supernode {
	t.Helper()
	ports := at.ports(t, 3)
	s := &supernode{node: newNode(t, "supernode", at, ports, reach)}
	s.networkKey = newNetworkKey(t, s.dir)
	s.config.put("network_key", s.networkKey)
	s.config.put("origin.mode", string(mode))
	for _, e := range edits {
		e(s.config)
	}
	s.run(t)
	s.address = strings.TrimSpace(command(t, nil, program("supernode"), "id", "--config", s.file()))
	return s
}

func newNetworkKey(t testing.TB, dir string) string {
	t.Helper()
	file := dir + "/network.key"
	command(t, nil, program("supernode"), "key", "new", file)
	return file
}

// peer is a running peer.
type peer struct {
	*node
	registry string // host:port of its registry port
}

// startPeer starts a peer of a supernode, or of nobody when s is nil.
func startPeer(t testing.TB, at place, s *supernode, reach registries, edits ...edit) *peer {
	t.Helper()
	p := newPeer(t, at, s, reach, edits...)
	p.run(t)
	return p
}

// newPeer is a peer that is not running yet.
func newPeer(t testing.TB, at place, s *supernode, reach registries, edits ...edit) *peer {
	t.Helper()
	ports := at.ports(t, 4)
	p := &peer{node: newNode(t, "peer", at, ports, reach), registry: at.at(ports[3])}
	p.config.put("registry.listen", p.registry)
	if s != nil {
		p.config.put("network_key", s.networkKey)
		p.config.put("supernode.address", []string{s.address})
	}
	for _, e := range edits {
		e(p.config)
	}
	return p
}

// puller asks this peer for what lies at a registry.
func (p *peer) puller(t testing.TB, registry string) *puller {
	return newPuller(t, p.place.dial, p.registry, registry)
}
