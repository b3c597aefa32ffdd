package node

import (
	"github.com/libp2p/go-libp2p/core/network"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/x/rate"
)

// Bounds for one cluster: many nodes may share an address or a prefix (pods
// behind a node, one IPv6 /56), so nothing is counted by address.
const (
	maxHandshakes     = 512 // connections that have not proved anything yet
	maxConnsPerNode   = 8
	maxStreamsPerNode = 64
	maxWindow         = 1 << 20 // bytes that a stream may send unread
)

func resources(maxConns int) (network.ResourceManager, error) {
	n := func(v int) rcmgr.LimitVal { return rcmgr.LimitVal(v) }
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Conns: n(maxConns + maxHandshakes), ConnsInbound: n(maxConns + maxHandshakes), ConnsOutbound: n(maxConns),
			Streams: n(8 * maxConns), StreamsInbound: n(8 * maxConns), StreamsOutbound: n(8 * maxConns),
		},
		Transient: rcmgr.ResourceLimits{
			Conns: n(maxHandshakes), ConnsInbound: n(maxHandshakes), ConnsOutbound: n(maxHandshakes),
			Streams: n(maxHandshakes), StreamsInbound: n(maxHandshakes), StreamsOutbound: n(maxHandshakes),
		},
		PeerDefault: rcmgr.ResourceLimits{
			Conns: n(maxConnsPerNode), ConnsInbound: n(maxConnsPerNode), ConnsOutbound: n(maxConnsPerNode),
			Streams: n(maxStreamsPerNode), StreamsInbound: n(maxStreamsPerNode), StreamsOutbound: n(maxStreamsPerNode),
		},
	}.Build(rcmgr.InfiniteLimits)
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits),
		rcmgr.WithLimitPerSubnet([]rcmgr.ConnLimitPerSubnet{}, []rcmgr.ConnLimitPerSubnet{}),
		rcmgr.WithConnRateLimiters(&rate.Limiter{}),
		rcmgr.WithMetricsDisabled())
}

// muxer probes idle connections, and keeps what an unread stream can hold small.
func muxer(cfg Config) network.Multiplexer {
	y := *yamux.DefaultTransport.Config()
	y.KeepAliveInterval = cfg.Keepalive
	y.ConnectionWriteTimeout = cfg.Keepalive
	y.MaxStreamWindowSize = maxWindow
	return (*yamux.Transport)(&y)
}
