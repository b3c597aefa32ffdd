package simulation

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/memstore"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/coordinator"
	"github.com/shoal-project/shoal/distribution/download"
)

// Config describes a cluster.
type Config struct {
	Peers int
	Mode  distribution.OriginMode
	// Rate of every host's cable each way, the origin's included, in bytes a
	// second; 0 is without limit.
	Rate float64
	// Log takes everybody's log; nil discards it.
	Log io.Writer
	// Tune changes the defaults.
	Tune func(*download.Config, *coordinator.Config)
}

// Cluster is an origin, a supernode and peers.
type Cluster struct {
	cfg       Config
	Origin    *Origin
	Supernode *Host
	Peers     []*Host
	Counts    Counts

	mu    sync.Mutex
	hosts map[distribution.NodeID]*Host
	wg    sync.WaitGroup
}

// Host is a node on its cable.
type Host struct {
	ID     distribution.NodeID
	Engine *download.Engine
	Store  chunk.Store
	// Lies makes it send wrong bytes.
	Lies atomic.Bool
	// Sent counts the bytes that it gave to other nodes.
	Sent atomic.Int64

	up, down    link
	key         ed25519.PrivateKey
	coordinator *coordinator.Coordinator
	streams     []*stream // guarded by the cluster's mu
	killed      atomic.Bool
	stop        context.CancelFunc
}

func (h *Host) dead() bool { return h.killed.Load() }

// SetRate changes a host's cable.
func (h *Host) SetRate(rate float64) {
	for _, l := range []*link{&h.up, &h.down} {
		l.mu.Lock()
		l.rate = rate
		l.mu.Unlock()
	}
}

// New builds and starts a cluster; Close ends it.
func New(cfg Config) (*Cluster, error) {
	c := &Cluster{cfg: cfg, hosts: map[distribution.NodeID]*Host{}}
	c.Origin = &Origin{content: map[chunk.Digest][]byte{}, up: link{rate: cfg.Rate}}
	var err error
	if c.Supernode, err = c.addSupernode(); err != nil {
		return nil, err
	}
	for i := range cfg.Peers {
		if _, err := c.AddPeer(fmt.Sprintf("peer%d", i+1)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Cluster) newHost(name string) (*Host, download.Config, coordinator.Config, *slog.Logger) {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	h := &Host{ID: distribution.NodeID(name), key: ed25519.NewKeyFromSeed(seed), Store: memstore.New(0)}
	h.SetRate(c.cfg.Rate)
	engine, judge := download.Default(), coordinator.Default()
	judge.Mode = c.cfg.Mode
	if c.cfg.Tune != nil {
		c.cfg.Tune(&engine, &judge)
	}
	out := c.cfg.Log
	if out == nil {
		out = io.Discard
	}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})).With("host", name)
	c.mu.Lock()
	c.hosts[h.ID] = h
	c.mu.Unlock()
	return h, engine, judge, log
}

func (c *Cluster) addSupernode() (*Host, error) {
	h, engine, judge, log := c.newHost("supernode")
	reg := prometheus.NewRegistry()
	origin := view{o: c.Origin, down: &h.down}
	var err error
	h.coordinator, err = coordinator.New(judge, coordinator.Deps{
		Origin: origin, Chunks: 1, Agent: "simulated", Log: log, Metric: coordinator.NewMetrics(reg),
		Trusts: func(l *chunk.List, s chunk.Seal) bool {
			return s.Verify(l, []ed25519.PublicKey{h.key.Public().(ed25519.PublicKey)}) == nil
		},
	})
	if err != nil {
		return nil, err
	}
	h.Engine, err = download.New(engine, download.Deps{
		Self: h.ID, Key: h.key, Store: h.Store, Origin: origin, Exchange: &exchange{c: c, self: h},
		Observer: h.coordinator, Log: log, Metrics: download.NewMetrics(reg),
	})
	if err != nil {
		return nil, err
	}
	h.coordinator.Bind(h.Engine)
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	c.wg.Go(func() { _ = h.coordinator.Run(ctx) })
	return h, nil
}

// AddPeer starts one more peer.
func (c *Cluster) AddPeer(name string) (*Host, error) {
	h, engine, _, log := c.newHost(name)
	var err error
	h.Engine, err = download.New(engine, download.Deps{
		Self: h.ID, Key: h.key, Trust: []ed25519.PublicKey{c.Supernode.key.Public().(ed25519.PublicKey)},
		Store: h.Store, Origin: view{o: c.Origin, down: &h.down}, Exchange: &exchange{c: c, self: h},
		Neighbour: func(_ context.Context, m distribution.Member) (distribution.Conn, error) { return c.dial(h, m.ID) },
		Supernode: func(context.Context) (distribution.Conn, distribution.Member, error) {
			conn, err := c.dial(h, c.Supernode.ID)
			return conn, distribution.Member{ID: c.Supernode.ID, Control: string(c.Supernode.ID) + ":1"}, err
		},
		Hello: distribution.Hello{Agent: name, Chunks: 1, Control: 1},
		Log:   log, Metrics: download.NewMetrics(prometheus.NewRegistry()),
	})
	if err != nil {
		return nil, err
	}
	h.stop = func() {}
	c.Peers = append(c.Peers, h)
	return h, nil
}

func (c *Cluster) host(id distribution.NodeID) *Host {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hosts[id]
}

// dial connects a host to another one's listener.
func (c *Cluster) dial(from *Host, to distribution.NodeID) (distribution.Conn, error) {
	h := c.host(to)
	if h == nil || h.dead() || from.dead() {
		return nil, errGone
	}
	near, far := pipe(from.ID, to, &c.Counts)
	c.mu.Lock()
	from.streams = append(from.streams, near)
	h.streams = append(h.streams, far)
	c.mu.Unlock()
	c.wg.Go(func() {
		if h.coordinator != nil {
			_ = h.coordinator.Serve(context.Background(), far)
			return
		}
		h.Engine.ServeNeighbour(context.Background(), far)
	})
	return near, nil
}

// Kill ends a host at once: its streams break, its transfers fail.
func (c *Cluster) Kill(h *Host) {
	h.killed.Store(true)
	c.mu.Lock()
	streams := h.streams
	c.mu.Unlock()
	for _, s := range streams {
		_ = s.Close()
	}
	h.stop()
}

// Pull reads the whole object on a host, as a registry client would.
func (c *Cluster) Pull(ctx context.Context, h *Host, d chunk.Digest, w io.Writer) error {
	r, err := h.Engine.Open(ctx, distribution.Source{Registry: "origin", Repository: "r", Digest: d})
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = r.CopyRange(ctx, w, 0, r.Size())
	return err
}

// Close ends everything and waits for it.
func (c *Cluster) Close() {
	for _, h := range append([]*Host{c.Supernode}, c.Peers...) {
		c.Kill(h)
	}
	for _, h := range append([]*Host{c.Supernode}, c.Peers...) {
		_ = h.Engine.Close()
		_ = h.Store.Close()
	}
	c.wg.Wait()
}
