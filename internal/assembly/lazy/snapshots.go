//go:build linux

package lazy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/daemon"
)

// snapshots is containerd's snapshotter, if it is wanted. A nil one does nothing.
type snapshots struct {
	*snapshotter.Snapshotter
	listener net.Listener
}

// newSnapshots needs the images to be restored by now: it lets go of those that no
// snapshot shows.
func newSnapshots(cfg config.Lazyfs, images snapshotter.Images, log *slog.Logger, reg prometheus.Registerer) (*snapshots, error) {
	if !cfg.Snapshotter.Enabled {
		return nil, nil
	}
	root := cfg.Snapshotter.Root
	if root == "" {
		root = filepath.Join(cfg.DataDir, "snapshots")
	}
	socket := cfg.Snapshotter.Socket
	if socket == "" {
		socket = filepath.Join(cfg.RunDir, "snapshotter.sock")
	}
	s, err := snapshotter.New(snapshotter.Config{Root: root, Patience: cfg.Snapshotter.Patience}, images, log, reg)
	if err != nil {
		return nil, fmt.Errorf("the snapshotter in %s: %w; set snapshotter.root, or snapshotter.enabled to false", root, err)
	}
	l, err := daemon.ListenUnix(socket)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("snapshotter.socket: %w", err), s.Close())
	}
	return &snapshots{s, l}, nil
}

// run serves containerd until ctx ends.
func (s *snapshots) run(ctx context.Context) error {
	if s == nil {
		<-ctx.Done()
		return nil
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // its error comes below
	defer stop()
	return errors.Join(s.Serve(s.listener), s.Close())
}

// layers are what the status tells of them.
func (s *snapshots) layers(log *slog.Logger) []snapshotter.Layer {
	if s == nil {
		return nil
	}
	all, err := s.Status()
	if err != nil {
		log.Warn("reading the snapshots' records", "error", err)
	}
	return all
}
