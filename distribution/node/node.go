package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/pnet"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"

	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/shoal-project/shoal/distribution"
)

// Protocol names what a stream speaks.
type Protocol string

// The protocols, in their first version.
const (
	Control   Protocol = "/shoal/control/1"   // a peer and its supernode
	Neighbour Protocol = "/shoal/neighbour/1" // two peers of one swarm
)

// Node is a running control port.
type Node struct {
	cfg   Config
	id    Identity
	log   *slog.Logger
	m     *Metrics
	codec *codec
	host  host.Host
	addr  string

	ctx    context.Context // ends with Close; what handlers get
	cancel context.CancelFunc
	wg     sync.WaitGroup // handlers

	mu     sync.Mutex
	closed bool
	conns  map[*Conn]struct{}
}

// New starts a node. Without a network key it listens on loopback only.
func New(cfg Config, id Identity, key NetworkKey, log *slog.Logger, m *Metrics) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("control port: %w", err)
	}
	listen, err := listenAddrs(cfg, key)
	if err != nil {
		return nil, err
	}
	codec, err := newCodec()
	if err != nil {
		return nil, err
	}
	h, err := newHost(cfg, id, key)
	if err != nil {
		return nil, fmt.Errorf("control port: %w", err)
	}
	n := &Node{cfg: cfg, id: id, log: log, m: m, codec: codec, host: h, conns: map[*Conn]struct{}{}}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if err := n.listen(listen); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// listenAddrs resolves cfg.Listen, and refuses to be open to everybody.
func listenAddrs(cfg Config, key NetworkKey) ([]ma.Multiaddr, error) {
	if len(key) != 0 && len(key) != networkKeySize {
		return nil, fmt.Errorf("control port: network key of %d bytes: make one with `supernode key new`", len(key))
	}
	if cfg.Listen == "" {
		return nil, nil
	}
	name, port, err := splitHostPort(cfg.Listen)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cfg.DialTimeout)
	defer cancel()
	addrs, err := resolve(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("control port: %w", err)
	}
	if len(key) == 0 && !allLoopback(addrs) {
		return nil, fmt.Errorf("control port: listening on %s without a network key would let anybody in: "+
			"make a key with `supernode key new` and give it to every node, or listen on 127.0.0.1", cfg.Listen)
	}
	return multiaddrs(addrs, port)
}

func newHost(cfg Config, id Identity, key NetworkKey) (host.Host, error) {
	priv, err := crypto.UnmarshalEd25519PrivateKey(id.key)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	limits, err := resources(cfg.MaxConns)
	if err != nil {
		return nil, fmt.Errorf("resource limits: %w", err)
	}
	opts := []libp2p.Option{
		libp2p.Identity(priv),
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport(), tcp.WithConnectionTimeout(cfg.DialTimeout)),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, muxer(cfg)),
		libp2p.ResourceManager(limits),
		libp2p.ConnectionManager(connmgr.NullConnMgr{}),
		libp2p.NoListenAddrs, libp2p.DisableRelay(), libp2p.ForceReachabilityPrivate(),
		libp2p.DisableIdentifyAddressDiscovery(), libp2p.Ping(false), libp2p.DisableMetrics(),
		// Nodes tell their addresses in messages, so identify tells none.
		libp2p.AddrsFactory(func([]ma.Multiaddr) []ma.Multiaddr { return nil }),
		libp2p.SwarmOpts(swarm.WithDialRanker(swarm.NoDelayDialRanker)), libp2p.WithDialTimeout(cfg.DialTimeout),
		libp2p.IPv6BlackHoleSuccessCounter(nil), libp2p.UDPBlackHoleSuccessCounter(nil),
		libp2p.UserAgent("shoal"),
	}
	if len(key) != 0 {
		opts = append(opts, libp2p.PrivateNetwork(pnet.PSK(key)))
	}
	return libp2p.New(opts...)
}

// listen opens the first address and then the same port on the others. Only the
// first must succeed: a machine may have no IPv6.
func (n *Node) listen(addrs []ma.Multiaddr) error {
	for i, addr := range addrs {
		if i > 0 {
			host, _ := hostPort(addr)
			var err error
			_, port, _ := net.SplitHostPort(n.addr)
			if addr, err = rePort(host, port); err != nil {
				return err
			}
		}
		err := n.host.Network().Listen(addr)
		if err != nil && i == 0 {
			return fmt.Errorf("control port: listening on %s: %w: is another node running here?", n.cfg.Listen, err)
		}
		if err != nil {
			n.log.Debug("control port: one address is left out", "address", addr.String(), "error", err)
			continue
		}
		if i == 0 {
			host, port := hostPort(n.host.Network().ListenAddresses()[0])
			n.addr = net.JoinHostPort(host, port)
		}
	}
	return nil
}

func rePort(host, port string) (ma.Multiaddr, error) {
	_, number, err := splitHostPort(net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	addrs, err := resolve(context.Background(), host)
	if err != nil {
		return nil, err
	}
	return multiaddr(addrs[0], number)
}

// ID is this node's name.
func (n *Node) ID() distribution.NodeID { return n.id.id }

// Addr is the host:port that it listens on, with the port that it got; empty if
// it does not listen.
func (n *Node) Addr() string { return n.addr }

// Port is that of Addr; 0 if it does not listen.
func (n *Node) Port() uint16 {
	_, text, _ := net.SplitHostPort(n.addr)
	port, _ := strconv.ParseUint(text, 10, 16)
	return uint16(port)
}

// Handle takes streams of a protocol. Each call of f has a goroutine of its own
// and owns its stream, which is closed when f returns; its context ends with the
// node.
func (n *Node) Handle(p Protocol, f func(context.Context, distribution.Conn)) {
	n.host.SetStreamHandler(protocol.ID(p), func(s network.Stream) {
		c, ok := n.adopt(s, &n.wg)
		if !ok {
			return
		}
		defer n.wg.Done()
		defer c.Close()
		n.log.Debug("control stream opened", "node", string(c.remote), "host", c.host, "protocol", string(p))
		f(n.ctx, c)
	})
}

// adopt makes a stream ours unless the node is closed; wg gains one if so.
func (n *Node) adopt(s network.Stream, wg *sync.WaitGroup) (*Conn, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		s.Reset()
		return nil, false
	}
	if wg != nil {
		wg.Add(1)
	}
	c := newConn(s, n)
	n.conns[c] = struct{}{}
	return c, true
}

func (n *Node) forget(c *Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
}

// Close ends every stream and waits for the handlers.
func (n *Node) Close() error {
	n.cancel()
	n.mu.Lock()
	n.closed = true
	conns := make([]*Conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	n.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() { c.Close() })
	}
	wg.Wait()
	n.wg.Wait()
	if err := n.host.Close(); err != nil {
		return fmt.Errorf("closing the control port: %w", err)
	}
	return nil
}
