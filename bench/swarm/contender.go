//go:build linux

package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/shoal-project/shoal/bench/system"
)

// contender is one way to pull. Its cluster is nil for the direct one.
type contender struct {
	mode    string
	cluster *system.Cluster
}

// startContenders starts a cluster for each of Shoal's modes, all on the same
// hosts, with ports of their own. What was started is returned also on failure.
func (b *bench) startContenders(ctx context.Context) ([]*contender, error) {
	var started []*contender
	for i, mode := range b.options.modes {
		c := &contender{mode: mode}
		if isShoal(mode) {
			cluster, err := system.StartCluster(ctx, system.ClusterConfig{
				Name: fmt.Sprintf("shoal%d", i), Mode: mode, Security: b.options.security,
				FirstPort: uint16(7400 + 100*i), Origin: b.registry.Addr().String(), Binaries: b.binaries,
				Supernode: b.lab.Host("supernode"), Peers: b.peers(),
			})
			if err != nil {
				return started, fmt.Errorf("starting %s: %w", mode, err)
			}
			c.cluster = cluster
		}
		started = append(started, c)
	}
	return started, nil
}

// save keeps what the daemons have to say, if that was asked for.
func (b *bench) save(ctx context.Context, c *contender, name string) error {
	if c.cluster == nil || b.options.logs == "" {
		return nil
	}
	return c.cluster.Save(context.WithoutCancel(ctx), filepath.Join(b.options.logs, name))
}

func (c *contender) stop() error {
	if c.cluster == nil {
		return nil
	}
	return c.cluster.Stop()
}
