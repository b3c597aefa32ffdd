package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/shoal-project/shoal/distribution"
)

// Address says where a node listens and who it must prove to be: "ID@host:port".
type Address struct {
	ID   distribution.NodeID
	Host string // host:port
}

func (a Address) String() string { return string(a.ID) + "@" + a.Host }

// ParseAddress reads "ID@host:port".
func ParseAddress(s string) (Address, error) {
	id, host, ok := strings.Cut(s, "@")
	if !ok {
		return Address{}, fmt.Errorf("address %.160q: want ID@host:port, as `supernode status` shows it", s)
	}
	if _, err := PublicKey(distribution.NodeID(id)); err != nil {
		return Address{}, fmt.Errorf("address %.160q: %w", s, err)
	}
	if _, _, err := splitHostPort(host); err != nil {
		return Address{}, err
	}
	return Address{ID: distribution.NodeID(id), Host: host}, nil
}

// splitHostPort reads "host:port" with a number for the port.
func splitHostPort(s string) (string, uint16, error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil || len(host) > 253 || strings.ContainsAny(host, "/ ") {
		return "", 0, fmt.Errorf("address %.160q: want host:port", s)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("address %.160q: want a port number below 65536", s)
	}
	return host, uint16(port), nil
}

// resolve gives a host's addresses; an empty host is every interface.
func resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if host == "" {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr.Unmap().WithZone("")}, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolving %s: %w", host, err)
	}
	for i := range found {
		found[i] = found[i].Unmap().WithZone("")
	}
	return found, nil
}

func multiaddr(addr netip.Addr, port uint16) (ma.Multiaddr, error) {
	family := "ip6"
	if addr.Is4() {
		family = "ip4"
	}
	return ma.NewMultiaddr(fmt.Sprintf("/%s/%s/tcp/%d", family, addr, port))
}

func multiaddrs(addrs []netip.Addr, port uint16) ([]ma.Multiaddr, error) {
	out := make([]ma.Multiaddr, 0, len(addrs))
	for _, addr := range addrs {
		m, err := multiaddr(addr, port)
		if err != nil {
			return nil, fmt.Errorf("address %s: %w", addr, err)
		}
		out = append(out, m)
	}
	return out, nil
}

// hostPort is the inverse of multiaddr; empty for what is no TCP address.
func hostPort(m ma.Multiaddr) (host, port string) {
	ma.ForEach(m, func(c ma.Component) bool {
		switch c.Protocol().Code {
		case ma.P_IP4, ma.P_IP6:
			host = c.Value()
		case ma.P_TCP:
			port = c.Value()
		}
		return true
	})
	return host, port
}

func allLoopback(addrs []netip.Addr) bool {
	for _, addr := range addrs {
		if !addr.IsLoopback() {
			return false
		}
	}
	return true
}

func peerID(id distribution.NodeID) (peer.ID, error) {
	decoded, err := peer.Decode(string(id))
	if err != nil {
		return "", fmt.Errorf("node id %.64q: %w", id, err)
	}
	return decoded, nil
}
