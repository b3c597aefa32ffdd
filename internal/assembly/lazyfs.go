//go:build linux

package assembly

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/shoal-project/shoal/fuse"
	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/lazyfs"
	"github.com/shoal-project/shoal/internal/lazyfs/content"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/internal/version"
)

// peerPatience bounds the question whether the peer is there.
const peerPatience = 2 * time.Second

// Lazyfs runs the lazy file system until ctx ends.
func Lazyfs(ctx context.Context, cfg config.Lazyfs, log *slog.Logger) (err error) {
	started := time.Now()
	b, err := newBase(cfg.DataDir, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	peer := nodeapi.New(cfg.Peer.Socket)
	b.closers = append(b.closers, func() error { peer.Close(); return nil })
	d, err := lazyfs.New(lazyfsConfig(cfg), peer, log, b.metrics)
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
	fronts, err := b.adminFronts(cfg.Admin, admin.Daemon{
		Metrics: b.metrics,
		Ready:   func() error { return errors.Join(b.writable(), ready()) },
		Status:  func() any { return d.Status(version.String(), cfg.Peer.Socket, started) },
		More:    d.Routes(),
	}, map[string]string{})
	if err != nil {
		return errors.Join(err, d.Close())
	}
	if err := d.Start(ctx); err != nil {
		return errors.Join(err, d.Close())
	}
	log.Info("lazyfs is up", "socket", cfg.Admin.Socket, "peer", cfg.Peer.Socket)
	err = b.serve(ctx, cfg.Shutdown.Grace, fronts, nil)
	log.Info("lazyfs is going down")
	return errors.Join(err, d.Stop())
}

func lazyfsConfig(cfg config.Lazyfs) lazyfs.Config {
	c := lazyfs.Config{
		DataDir: cfg.DataDir, RunDir: cfg.RunDir, Fill: cfg.Fill.Enabled, Grace: cfg.Shutdown.Grace,
		Content: content.Default(),
		FUSE: fuse.Config{
			Passthrough: cfg.FUSE.Passthrough, PassthroughMin: int64(cfg.FUSE.PassthroughMin),
			MaxRead: int(cfg.FUSE.MaxRead), ReadAhead: int64(cfg.FUSE.ReadAhead), AheadMax: int64(cfg.FUSE.AheadMax),
			MaxBackground: cfg.FUSE.MaxBackground, Deadline: cfg.FUSE.Deadline, CacheFor: cfg.FUSE.CacheFor,
			IDMapped: cfg.FUSE.IDMapped,
		},
	}
	c.Content.Demand, c.Content.Ahead = cfg.Fetch.Demand, cfg.Fetch.Ahead
	c.Content.Fill, c.Content.FillRate = cfg.Fill.Parallel, int64(cfg.Fill.Rate)
	return c
}
