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
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/daemon"
)

// settings are those that both members of a swarm have.
type settings struct {
	dataDir    string
	networkKey string
	origin     origin.Config
	store      diskstore.Config
	control    node.Config
	exchange   config.Exchange
	// swarm says whether the node has others to talk to at all.
	swarm bool
}

// parts are what both members of a swarm are made of. Fields below swarm are nil in a node
// that works alone.
type parts struct {
	*base
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
	b, err := newBase(s.dataDir, log)
	if err != nil {
		return nil, err
	}
	p := &parts{base: b}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	if p.identity, err = node.LoadIdentity(config.IdentityFile(s.dataDir)); err != nil {
		return nil, err
	}
	if s.networkKey != "" {
		if p.key, err = node.LoadNetworkKey(s.networkKey); err != nil {
			return nil, err
		}
	}
	s.store.OnEvict = p.evicted
	if p.store, err = diskstore.Open(p.storeDir(), s.store, log, diskstore.NewMetrics(p.metrics)); err != nil {
		return nil, err
	}
	p.closers = append(p.closers, p.store.Close)
	if p.origin, err = origin.New(s.origin, log, origin.NewMetrics(p.metrics)); err != nil {
		return nil, err
	}
	p.closers = append(p.closers, p.origin.Close)
	if s.swarm {
		err = p.openSwarm(s)
	}
	return p, err
}

func (p *parts) storeDir() string { return filepath.Join(p.dataDir, "store") }

// openSwarm opens what other nodes see.
func (p *parts) openSwarm(s settings) (err error) {
	if s.control.Listen, err = p.bindable("control", s.control.Listen); err != nil {
		return err
	}
	if p.node, err = node.New(s.control, p.identity, p.key, p.log, node.NewMetrics(p.metrics)); err != nil {
		return err
	}
	p.closers = append(p.closers, p.node.Close)
	p.giving = exchange.NewMetrics(p.metrics)
	if p.asking, err = exchange.NewClient(s.exchange.Config, p.identity.Key(), p.key, p.log, p.giving); err != nil {
		return err
	}
	p.closers = append(p.closers, func() error { p.asking.Close(); return nil })
	address, err := p.bindable("exchange", s.exchange.Listen)
	if err != nil {
		return err
	}
	if p.chunks, err = listen("exchange.listen", address); err != nil {
		return err
	}
	p.closers = append(p.closers, ignoreClosed(p.chunks))
	return nil
}

func (p *parts) bindable(section, address string) (string, error) {
	bind, narrowed, err := daemon.Bindable(address, len(p.key) > 0)
	if err != nil {
		return "", fmt.Errorf("%s.listen: %w", section, err)
	}
	if narrowed {
		p.log.Warn("no network key: listening on loopback only; other machines cannot join (make a key with `supernode key new`, and set network_key on every node)",
			"setting", section+".listen", "address", bind)
	}
	return bind, nil
}

// deps are the engine's parts that are the same in both daemons.
func (p *parts) deps() download.Deps {
	d := download.Deps{
		Self: p.identity.ID(), Key: p.identity.Key(), Store: p.store, Origin: p.origin, Own: p.origin.Own,
		Log: p.log, Metrics: download.NewMetrics(p.metrics),
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
	p.closers = append(p.closers, e.Close)
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
