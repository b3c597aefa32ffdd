//go:build linux

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/cli"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/containerd/transfer"
	"github.com/shoal-project/shoal/internal/lazyfs"
)

func pullCommand(settings *cli.Settings[config.Lazyfs], client connect) *cobra.Command {
	var flags engineFlags
	var request transfer.PullRequest
	cmd := &cobra.Command{
		Use: "pull IMAGE", Short: "Pull an image into containerd, lazily",
		Long: `Pull an image into containerd through this node's peer, as "ctr images pull" does,
with what tells the snapshotter which image each layer belongs to: then no layer is
downloaded or unpacked, and "ctr run --snapshotter shoal" starts it at once. A layer
that cannot be lazy is fetched and unpacked; it is said why.

Blobs of lazy layers are not in containerd's content store. Before export, push or
commit, bring them with "lazyfs materialize".`,
		Example: `  lazyfs pull debian:12
  ctr run --rm --snapshotter shoal docker.io/library/debian:12 d1 cat /etc/os-release
  lazyfs pull --namespace k8s.io --platform linux/arm64 quay.io/prometheus/busybox:latest`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := settings.Load(cmd)
			if err != nil {
				return err
			}
			authorization, err := flags.credentials.Read(cmd)
			if err != nil {
				return err
			}
			request.Image = args[0]
			if request.Authorization, err = authorization(request.Image); err != nil {
				return err
			}
			daemon, err := client(cmd)
			if err != nil {
				return err
			}
			mover, done, err := flags.connect(cfg)
			if err != nil {
				return err
			}
			defer done()
			mover.Why = func(ctx context.Context, chain chunk.Digest) string { return whyNotLazy(ctx, daemon, chain) }
			return flags.show(cmd, func(ctx context.Context, tell func(transfer.News)) error {
				return mover.Pull(ctx, request, tell)
			})
		},
	}
	cmd.Flags().StringVar(&request.Platform, "platform", "", "platform, such as linux/arm64 (default: this machine's)")
	cmd.Flags().StringVar(&request.Snapshotter, "snapshotter", "shoal", "containerd's snapshotter; with one of its own, such as overlayfs, every layer is unpacked")
	flags.add(cmd)
	return cmd
}

// whyNotLazy is what the daemon says of a layer that it did not take on. The pull
// does not need the answer.
func whyNotLazy(ctx context.Context, daemon lazyfs.Client, chain chunk.Digest) (reason string) {
	status, err := daemon.Status(ctx)
	if err != nil {
		return "of its snapshotter nothing is known: " + err.Error()
	}
	for _, l := range status.Layers { // the newest is the last
		if l.Chain == chain.String() && l.Reason != "" {
			reason = l.Reason
		}
	}
	return reason
}
