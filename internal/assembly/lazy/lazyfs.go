//go:build linux

// Package lazy puts the lazy file system's daemon together from its settings, as
// package assembly does it for peer and supernode. It is a package of its own so
// that the program links nothing of the swarm: no libp2p, no registry's client.
//
// It guarantees that a daemon that cannot be put together leaves nothing open. A
// daemon is run once.
package lazy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/shoal-project/shoal/fuse"
	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/assembly/base"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/lazyfs"
	"github.com/shoal-project/shoal/internal/lazyfs/content"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/internal/version"
)

// peerPatience bounds the question whether the peer is there.
const peerPatience = 2 * time.Second

// Options are what is not in the settings.
type Options struct {
	// Hold is the program that runs holder.Main, and its arguments, the first of which
	// is the process's name; the socket's path follows them.
	Hold []string
	// Mount is, likewise, the program that runs mounter.Main.
	Mount []string
	// Guard is, likewise, the program that runs layerstore.Guard.
	Guard []string
	// TakeOver has a running daemon end, to go on in its place.
	TakeOver bool
}

// Run runs the lazy file system until ctx ends, or somebody orders its end.
func Run(ctx context.Context, cfg config.Lazyfs, o Options, log *slog.Logger) (err error) {
	started := time.Now()
	b, err := base.New(cfg.DataDir, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if o.TakeOver {
		if err := takeOver(ctx, cfg, log); err != nil {
			return err
		}
	}
	peer := nodeapi.New(cfg.Peer.Socket)
	b.OnClose(func() error { peer.Close(); return nil })
	d, err := lazyfs.New(lazyfsConfig(cfg, o), peer, log, b.Metrics)
	if err != nil {
		return err
	}
	ready := func() error {
		short, cancel := context.WithTimeout(ctx, peerPatience)
		defer cancel()
		if err := d.PeerAnswers(short); err != nil {
			return fmt.Errorf("only what is on the disk is served: %w", err)
		}
		return nil
	}
	var snaps *snapshots // set before anybody is served
	status := func() any {
		s := d.Status(version.String(), cfg.Peer.Socket, started)
		s.Layers = snaps.layers(log)
		return s
	}
	fronts, err := b.AdminFronts(cfg.Admin, admin.Daemon{
		Metrics: b.Metrics,
		Ready:   func() error { return errors.Join(b.Writable(), ready()) },
		Status:  status,
		More:    d.Routes(),
	}, map[string]string{})
	if err != nil {
		return errors.Join(err, d.Close())
	}
	if err := d.Start(ctx); err != nil {
		return errors.Join(err, d.Close())
	}
	if snaps, err = newSnapshots(cfg, d.Holdings(), log, b.Metrics); err != nil {
		return errors.Join(err, d.Stop())
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(d.Ending(), end)()
	log.Info("lazyfs is up", "socket", cfg.Admin.Socket, "peer", cfg.Peer.Socket)
	err = b.Serve(ctx, cfg.Shutdown.Grace, fronts, []base.Back{snaps.run, func(ctx context.Context) error { return runLayerStore(ctx, cfg, o.Guard, d.Layers(peer), log) }})
	log.Info("lazyfs is going down")
	return errors.Join(err, d.Stop())
}

// handover bounds how long the running daemon may take to end.
const handover = time.Minute

// takeOver has the running daemon end, if there is one.
func takeOver(ctx context.Context, cfg config.Lazyfs, log *slog.Logger) error {
	client := lazyfs.Client{Client: admin.NewClient(cfg.Admin.Socket)}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, handover)
	defer cancel()
	err := client.Leave(ctx)
	var away *admin.Unreachable
	switch {
	case errors.As(err, &away):
		log.Info("no daemon runs; starting as usual", "socket", cfg.Admin.Socket)
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w; kill it: its mounts go on, too", err)
	case err != nil:
		return fmt.Errorf("telling the running daemon to end: %w; if it is older than this one, stop it", err)
	}
	return nil
}

func lazyfsConfig(cfg config.Lazyfs, o Options) lazyfs.Config {
	c := lazyfs.Config{
		DataDir: cfg.DataDir, RunDir: cfg.RunDir, Fill: cfg.Fill.Enabled, Grace: cfg.Shutdown.Grace,
		Graduate: cfg.Graduation.Enabled, KernelTree: cfg.FUSE.KernelTree, Mount: o.Mount,
		Content: content.Default(),
		Resume:  lazyfs.Resume{Enabled: cfg.Resume.Enabled, Patience: cfg.Resume.Patience, Hold: o.Hold},
		FUSE: fuse.Config{
			Passthrough: cfg.FUSE.Passthrough, PassthroughMin: int64(cfg.FUSE.PassthroughMin),
			MaxRead: int(cfg.FUSE.MaxRead), ReadAhead: int64(cfg.FUSE.ReadAhead), AheadMax: int64(cfg.FUSE.AheadMax),
			Deadline: cfg.FUSE.Deadline, CacheFor: cfg.FUSE.CacheFor,
			IDMapped: cfg.FUSE.IDMapped,
		},
	}
	c.Content.Demand, c.Content.Ahead = cfg.Fetch.Demand, cfg.Fetch.Ahead
	c.Content.Fill, c.Content.FillRate = cfg.Fill.Parallel, int64(cfg.Fill.Rate)
	return c
}
