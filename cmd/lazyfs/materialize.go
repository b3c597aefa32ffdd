//go:build linux

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/cli"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/containerd/transfer"
)

func materializeCommand(settings *cli.Settings[config.Lazyfs]) *cobra.Command {
	var flags engineFlags
	var request transfer.MaterializeRequest
	cmd := &cobra.Command{
		Use: "materialize IMAGE", Short: "Bring the blobs of a lazily pulled image into containerd",
		Long: `Bring the blobs of an image that containerd does not have into its content store, so
that the image can be exported, pushed, and committed from, as if it had been pulled
the ordinary way. Snapshots and containers are left as they are. What broke off goes
on where it stopped.

A layer comes from the repository that it was pulled from, or that the image's name
says; --from names another, such as the base image's for one that was committed.`,
		Example: `  lazyfs materialize debian:12
  ctr images export debian.tar docker.io/library/debian:12`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			cfg, err := settings.Load(cmd)
			if err != nil {
				return err
			}
			if request.Authorization, err = flags.credentials.Read(cmd); err != nil {
				return err
			}
			request.Image = args[0]
			mover, done, err := flags.connect(cfg)
			if err != nil {
				return err
			}
			defer done()
			return flags.show(cmd, func(ctx context.Context, tell func(transfer.News)) error {
				return mover.Materialize(ctx, request, tell)
			})
		},
	}
	cmd.Flags().StringVar(&request.From, "from", "", "an image of the repository to ask first")
	flags.add(cmd)
	return cmd
}
