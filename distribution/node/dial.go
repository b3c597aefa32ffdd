package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/shoal-project/shoal/distribution"
)

// Dial opens a stream to a node: over the connection that there is, else over a
// new one to addr (host:port). Whoever answers must prove to be id; if not, or
// if its network key differs, the error wraps distribution.ErrMembership.
func (n *Node) Dial(ctx context.Context, id distribution.NodeID, addr string, p Protocol) (distribution.Conn, error) {
	c, err := n.dial(ctx, id, addr, p)
	result := "ok"
	if errors.Is(err, distribution.ErrMembership) {
		result = "refused"
	} else if err != nil {
		result = "failed"
	}
	n.m.dials.WithLabelValues(result).Inc()
	if err != nil {
		return nil, fmt.Errorf("dialling node %s at %s: %w", id, addr, err)
	}
	return c, nil
}

func (n *Node) dial(ctx context.Context, id distribution.NodeID, addr string, p Protocol) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.DialTimeout)
	defer cancel()
	remote, err := peerID(id)
	if err != nil {
		return nil, err
	}
	if n.host.Network().Connectedness(remote) != network.Connected {
		if err := n.connect(ctx, remote, addr); err != nil {
			return nil, err
		}
	}
	s, err := n.host.NewStream(network.WithNoDial(ctx, "dialled above"), remote, protocol.ID(p))
	if err != nil {
		return nil, fmt.Errorf("it does not speak %s: is it a node of that kind? (%w)", p, err)
	}
	c, ok := n.adopt(s, nil)
	if !ok {
		return nil, ErrClosed
	}
	return c, nil
}

func (n *Node) connect(ctx context.Context, remote peer.ID, addr string) error {
	host, port, err := splitHostPort(addr)
	if err != nil {
		return err
	}
	if remote == n.host.ID() {
		return errors.New("that is this node itself: check the address")
	}
	found, err := resolve(ctx, host)
	if err != nil {
		return err
	}
	addrs, err := multiaddrs(found, port)
	if err != nil {
		return err
	}
	// The caller decides when to try again, and where: forget what was tried.
	if s, ok := n.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(remote)
	}
	n.host.Peerstore().ClearAddrs(remote)
	err = n.host.Connect(ctx, peer.AddrInfo{ID: remote, Addrs: addrs})
	if err != nil && ctx.Err() != nil && accepts(addr) {
		return errors.New("it accepts connections but does not finish the handshake: " +
			"its network key differs from this node's (does one of them have none?), or it is stuck")
	}
	return explain(err)
}

// accepts tells whether something listens there. A node without a network key
// and one with wait for each other until time is up, so this is how to tell
// that from a wrong address.
func accepts(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// explain turns libp2p's report of a failed dial into what to do about it.
func explain(err error) error {
	if err == nil {
		return nil
	}
	if mismatch, ok := errors.AsType[sec.ErrPeerIDMismatch](err); ok {
		return fmt.Errorf("%w: the node there is %s: correct the ID in the address", distribution.ErrMembership, mismatch.Actual)
	}
	if strings.Contains(err.Error(), "failed to negotiate security protocol") {
		return fmt.Errorf("%w: its network key differs from this node's, or it is no Shoal node: "+
			"give both the same network key file", distribution.ErrMembership)
	}
	var dial *swarm.DialError
	if errors.As(err, &dial) && len(dial.DialErrors) > 0 {
		return dial.DialErrors[0].Cause
	}
	return err
}
