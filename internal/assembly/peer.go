package assembly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/download"
	"github.com/shoal-project/shoal/distribution/node"
	"github.com/shoal-project/shoal/distribution/origin"
	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/assembly/base"
	"github.com/shoal-project/shoal/internal/config/members"
	"github.com/shoal-project/shoal/internal/daemon"
	"github.com/shoal-project/shoal/internal/version"
	"github.com/shoal-project/shoal/registryproxy"
)

// Peer runs a peer until ctx ends.
func Peer(ctx context.Context, cfg members.Peer, log *slog.Logger) (err error) {
	started := time.Now()
	supernodes, err := parseAddresses(cfg.Supernode.Address)
	if err != nil {
		return err
	}
	p, err := open(settings{
		dataDir: cfg.DataDir, networkKey: cfg.NetworkKey, origin: cfg.Origin, store: cfg.Store,
		control: cfg.Control, exchange: cfg.Exchange, swarm: len(supernodes) > 0,
	}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()

	engine, err := p.peerEngine(cfg, supernodes)
	if err != nil {
		return err
	}
	proxy, err := p.proxy(cfg.Registry, engine)
	if err != nil {
		return err
	}
	registry, err := p.Listen("registry.listen", cfg.Registry.Listen)
	if err != nil {
		return err
	}
	if host := registry.Addr().String(); !daemon.IsLoopback(hostOf(host)) {
		log.Warn("the registry port is open to other machines: whoever reaches it can pull through this node", "setting", "registry.listen", "address", host)
	}

	listening := map[string]string{"registry": registry.Addr().String()}
	backs, err := p.peerBacks(cfg, engine, listening)
	if err != nil {
		return err
	}
	jobs := newJobs(p.puller(engine), log)
	backs = append(backs, jobs.run)
	trust, err := keysOf(supernodes)
	if err != nil {
		return err
	}
	images, err := p.remoteImages(cfg.Remote, engine, trust)
	if err != nil {
		return err
	}
	backs = append(backs, images.Run)
	d := p.adminDaemon(engine, jobs)
	d.More = images.Routes()
	d.Ready = func() error { return errors.Join(p.Writable(), reachable(engine, supernodes)) }
	d.Status = func() any {
		s := p.status("peer", version.String(), started, listening)
		id, connected := engine.Connected()
		s.Supernode = &SupernodeStatus{Configured: cfg.Supernode.Address, Connected: connected, ID: id}
		return s
	}
	fronts, err := p.AdminFronts(cfg.Admin, d, listening)
	if err != nil {
		return err
	}
	log.Info("peer is up", "id", string(p.identity.ID()), "registry", listening["registry"], "supernodes", len(supernodes))
	err = p.Serve(ctx, cfg.Shutdown.Grace, append(fronts, base.Front{Listener: registry, Handler: proxy}), backs)
	log.Info("peer is going down")
	return err
}

func (p *parts) peerEngine(cfg members.Peer, supernodes []node.Address) (*download.Engine, error) {
	deps := p.deps()
	deps.Hello.Agent = "peer/" + version.String()
	var err error
	if deps.Trust, err = keysOf(supernodes); err != nil {
		return nil, err
	}
	if len(supernodes) > 0 {
		deps.Supernode = p.dialer(supernodes)
	}
	return p.newEngine(cfg.Download, cfg.Origin.Parallel, deps)
}

// dialer connects to the first supernode that answers.
func (p *parts) dialer(supernodes []node.Address) func(context.Context) (distribution.Conn, distribution.Member, error) {
	return func(ctx context.Context) (distribution.Conn, distribution.Member, error) {
		var errs []error
		for _, a := range supernodes {
			conn, err := p.node.Dial(ctx, a.ID, a.Host, node.Control)
			if err == nil {
				return conn, distribution.Member{ID: a.ID, Control: a.Host}, nil
			}
			errs = append(errs, err)
		}
		return nil, distribution.Member{}, errors.Join(errs...)
	}
}

func (p *parts) peerBacks(cfg members.Peer, engine *download.Engine, listening map[string]string) ([]base.Back, error) {
	if p.node == nil {
		return nil, nil
	}
	p.node.Handle(node.Neighbour, func(ctx context.Context, conn distribution.Conn) { engine.ServeNeighbour(ctx, conn) })
	give, err := p.giver(cfg.Exchange, engine)
	if err != nil {
		return nil, err
	}
	listening["control"], listening["exchange"] = p.node.Addr(), p.chunks.Addr().String()
	return []base.Back{give}, nil
}

func (p *parts) proxy(cfg members.Registry, engine *download.Engine) (*registryproxy.Proxy, error) {
	if cfg.StateDir == "" {
		cfg.StateDir = filepath.Join(p.DataDir, "registry")
	}
	proxy, err := registryproxy.New(cfg.Config, engine, p.origin, p.Log, registryproxy.NewMetrics(p.Metrics), registryproxy.WithCanonical(origin.Canonical))
	if err != nil {
		return nil, err
	}
	p.OnClose(proxy.Close)
	return proxy, nil
}

// adminDaemon is what both daemons answer on their admin side.
func (p *parts) adminDaemon(engine *download.Engine, jobs *jobs) admin.Daemon {
	return admin.Daemon{Metrics: p.Metrics, Pull: jobs.pull, Start: jobs.start, Resolve: jobs.puller.List, Explain: explain(engine)}
}

func reachable(engine *download.Engine, supernodes []node.Address) error {
	if _, ok := engine.Connected(); ok || len(supernodes) == 0 {
		return nil
	}
	return fmt.Errorf("none of %d supernodes answers; pulls go to neighbours and origins", len(supernodes))
}

func parseAddresses(texts []string) ([]node.Address, error) {
	addresses := make([]node.Address, len(texts))
	for i, text := range texts {
		a, err := node.ParseAddress(text)
		if err != nil {
			return nil, fmt.Errorf("supernode.address: %w", err)
		}
		addresses[i] = a
	}
	return addresses, nil
}
