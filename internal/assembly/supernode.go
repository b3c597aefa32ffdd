package assembly

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/coordinator"
	"github.com/shoal-project/shoal/distribution/node"
	"github.com/shoal-project/shoal/internal/assembly/base"
	"github.com/shoal-project/shoal/internal/config/members"
	"github.com/shoal-project/shoal/internal/pull"
	"github.com/shoal-project/shoal/internal/remote"
	"github.com/shoal-project/shoal/internal/version"
)

// Supernode runs a supernode until ctx ends.
func Supernode(ctx context.Context, cfg members.Supernode, log *slog.Logger) (err error) {
	started := time.Now()
	p, err := open(settings{
		dataDir: cfg.DataDir, networkKey: cfg.NetworkKey, origin: cfg.Origin.Config, store: cfg.Store,
		control: cfg.Control, exchange: cfg.Exchange, swarm: true,
	}, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close()) }()

	// The engine observes through the coordinator, and the deriver stands on the
	// engine; no peer speaks before all three are there.
	var trees distribution.Deriver
	judge, err := p.coordinator(cfg, func(ctx context.Context, src distribution.Source, view distribution.View, tell func(done, total int64)) ([]byte, error) {
		return trees(ctx, src, view, tell)
	})
	if err != nil {
		return err
	}
	deps := p.deps()
	deps.Neighbour = nil // it has members, not neighbours
	deps.Observer = judge
	engine, err := p.newEngine(cfg.Download, cfg.Origin.Parallel, deps)
	if err != nil {
		return err
	}
	judge.Bind(engine)
	deriver, err := p.deriver(cfg.Remote, engine)
	if err != nil {
		return err
	}
	trees = treeMaker(deriver)
	give, err := p.giver(cfg.Exchange, engine)
	if err != nil {
		return err
	}
	p.node.Handle(node.Control, func(ctx context.Context, conn distribution.Conn) {
		if err := judge.Serve(ctx, conn); err != nil {
			log.Debug("a control stream ended", "peer", string(conn.Remote()), "error", err)
		}
	})

	jobs := newJobs(p.puller(engine), log)
	jobs.prepare = func(ctx context.Context, r pull.Request) error {
		return remote.Prepare(ctx, jobs.puller, trees, r)
	}
	listening := map[string]string{
		"control": p.node.Addr(), "exchange": p.chunks.Addr().String(),
	}
	d := p.adminDaemon(engine, jobs)
	d.Ready = p.Writable
	d.Status = func() any {
		s := p.status("supernode", version.String(), started, listening)
		c, _ := readCounters(p.Metrics) // told of above
		s.Swarm = &SwarmStatus{
			Mode:  cfg.Origin.Mode,
			Peers: c.value("shoal_coordinator_peers"), Swarms: c.value("shoal_coordinator_swarms"),
		}
		return s
	}
	fronts, err := p.AdminFronts(cfg.Admin, d, listening)
	if err != nil {
		return err
	}
	log.Info("supernode is up", "id", string(p.identity.ID()), "control", p.node.Addr(), "mode", string(cfg.Origin.Mode))
	err = p.Serve(ctx, cfg.Shutdown.Grace, fronts, []base.Back{give, judge.Run, jobs.run})
	log.Info("supernode is going down")
	return err
}

func (p *parts) coordinator(cfg members.Supernode, trees distribution.Deriver) (*coordinator.Coordinator, error) {
	swarm := cfg.Swarm
	swarm.Mode = cfg.Origin.Mode
	own := []ed25519.PublicKey{p.identity.Key().Public().(ed25519.PublicKey)}
	return coordinator.New(swarm, coordinator.Deps{
		Origin: p.origin,
		Trusts: func(l *chunk.List, s chunk.Seal) bool { return s.Verify(l, own) == nil },
		Derive: trees,
		Chunks: port(p.chunks), Agent: "supernode/" + version.String(),
		Log: p.Log, Metric: coordinator.NewMetrics(p.Metrics),
	})
}
