package assembly

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync/atomic"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/download"
	"github.com/shoal-project/shoal/distribution/exchange"
	"github.com/shoal-project/shoal/distribution/node"
	"github.com/shoal-project/shoal/distribution/origin"
	"github.com/shoal-project/shoal/internal/assembly/base"
	"github.com/shoal-project/shoal/internal/config/members"
	"github.com/shoal-project/shoal/internal/daemon"
)

// settings are those that both members of a swarm have.
type settings struct {
	dataDir    string
	networkKey string
	origin     origin.Config
	store      diskstore.Config
	control    node.Config
	exchange   members.Exchange
	// swarm says whether the node has others to talk to at all.
	swarm bool
}

// parts are what both members of a swarm are made of. Fields below swarm are nil in a node
// that works alone.
type parts struct {
	*base.Base
	identity node.Identity
	key      node.NetworkKey
	store    *diskstore.Store
	origin   *origin.Client

	node   *node.Node
	asking *exchange.Client
	giving *exchange.Metrics
	chunks net.Listener

	engine atomic.Pointer[download.Engine] // set by newEngine, for evictions
}

// open opens the shared parts. On an error nothing stays open.
func open(s settings, log *slog.Logger) (_ *parts, err error) {
	b, err := base.New(s.dataDir, log)
	if err != nil {
		return nil, err
	}
	p := &parts{Base: b}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	if p.identity, err = node.LoadIdentity(members.IdentityFile(s.dataDir)); err != nil {
		return nil, err
	}
	if s.networkKey != "" {
		if p.key, err = node.LoadNetworkKey(s.networkKey); err != nil {
			return nil, err
		}
	}
	s.store.OnEvict = p.evicted
	if p.store, err = diskstore.Open(p.storeDir(), s.store, log, diskstore.NewMetrics(p.Metrics)); err != nil {
		return nil, err
	}
	p.OnClose(p.store.Close)
	if p.origin, err = origin.New(s.origin, log, origin.NewMetrics(p.Metrics)); err != nil {
		return nil, err
	}
	p.OnClose(p.origin.Close)
	if s.swarm {
		err = p.openSwarm(s)
	}
	return p, err
}

func (p *parts) storeDir() string { return filepath.Join(p.DataDir, "store") }

// openSwarm opens what other nodes see.
func (p *parts) openSwarm(s settings) (err error) {
	if s.control.Listen, err = p.bindable("control", s.control.Listen); err != nil {
		return err
	}
	if p.node, err = node.New(s.control, p.identity, p.key, p.Log, node.NewMetrics(p.Metrics)); err != nil {
		return err
	}
	p.OnClose(p.node.Close)
	p.giving = exchange.NewMetrics(p.Metrics)
	if p.asking, err = exchange.NewClient(s.exchange.Config, p.identity.Key(), p.key, p.Log, p.giving); err != nil {
		return err
	}
	p.OnClose(func() error { p.asking.Close(); return nil })
	address, err := p.bindable("exchange", s.exchange.Listen)
	if err != nil {
		return err
	}
	p.chunks, err = p.Listen("exchange.listen", address)
	return err
}

func (p *parts) bindable(section, address string) (string, error) {
	bind, narrowed, err := daemon.Bindable(address, len(p.key) > 0)
	if err != nil {
		return "", fmt.Errorf("%s.listen: %w", section, err)
	}
	if narrowed {
		p.Log.Warn("no network key: listening on loopback only; other machines cannot join (make a key with `supernode key new`, and set network_key on every node)",
			"setting", section+".listen", "address", bind)
	}
	return bind, nil
}

// deps are the engine's parts that are the same in both daemons.
func (p *parts) deps() download.Deps {
	d := download.Deps{
		Self: p.identity.ID(), Key: p.identity.Key(), Store: p.store, Origin: p.origin, Own: p.origin.Own,
		Log: p.Log, Metrics: download.NewMetrics(p.Metrics),
	}
	if p.node != nil {
		d.Exchange = p.asking
		d.Hello = distribution.Hello{Chunks: port(p.chunks), Control: p.node.Port()}
		d.Neighbour = func(ctx context.Context, m distribution.Member) (distribution.Conn, error) {
			return p.node.Dial(ctx, m.ID, m.Control, node.Neighbour)
		}
	}
	return d
}

func (p *parts) newEngine(cfg download.Config, parallel int, deps download.Deps) (*download.Engine, error) {
	cfg.Parallel = parallel
	e, err := download.New(cfg, deps)
	if err != nil {
		return nil, err
	}
	p.engine.Store(e)
	p.OnClose(e.Close)
	return e, nil
}

func (p *parts) evicted(d chunk.Digest) {
	if e := p.engine.Load(); e != nil {
		e.Evicted(d)
	}
}

func port(l net.Listener) uint16 {
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return uint16(a.Port)
	}
	return 0
}

// giver serves chunks to other nodes.
func (p *parts) giver(cfg members.Exchange, uploads distribution.Uploads) (base.Back, error) {
	server, err := exchange.NewServer(cfg.Config, p.identity.Key(), p.key, uploads, p.Log, p.giving)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return server.Serve(ctx, p.chunks) }, nil
}

// keysOf are the public keys that the nodes' names hold.
func keysOf(addresses []node.Address) ([]ed25519.PublicKey, error) {
	keys := make([]ed25519.PublicKey, len(addresses))
	for i, a := range addresses {
		key, err := node.PublicKey(a.ID)
		if err != nil {
			return nil, err
		}
		keys[i] = key
	}
	return keys, nil
}
