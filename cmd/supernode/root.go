package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/assembly"
	"github.com/shoal-project/shoal/internal/cli"
	"github.com/shoal-project/shoal/internal/cli/membercmd"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/config/members"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "supernode", Short: "Coordinate a cluster's image pulls",
		Long: `supernode is the daemon that the peers of a cluster belong to. It fetches every
image once from its registry (or has the peers fetch a share each), vouches for
what it has seen whole, and decides who takes what from whom.`,
		Example: `  supernode key new /etc/shoal/network.key
  supernode serve --network-key /etc/shoal/network.key
  supernode id`,
	}
	settings := cli.AddSettings(root, members.DefaultSupernode, members.DefaultSupernodeFile,
		"data-dir=data_dir", "network-key=network_key", "advertise=advertise",
		"origin-mode=origin.mode", "socket=admin.socket", "log-level=log.level")
	d := cli.Daemon[members.Supernode]{
		Settings: settings, Run: assembly.Supernode,
		Stop: `says goodbye to its peers, which
go on among themselves, and writes its store to disk. A second signal ends it at
once; nothing that was stored is lost.`,
		Common: func(c members.Supernode) (config.Log, config.Memory, config.Admin) { return c.Log, c.Memory, c.Admin },
	}
	root.AddCommand(
		d.ServeCommand(), preheatCommand(d.Client), membercmd.StatusCommand(d.Client), membercmd.ExplainCommand(d.Client),
		keyCommand(), idCommand(settings), cli.ConfigCommand(settings), cli.VersionCommand(),
	)
	return root
}

func preheatCommand(client func(*cobra.Command) (*admin.Client, error)) *cobra.Command {
	var flags membercmd.PullFlags
	wait, lazy := false, false
	cmd := &cobra.Command{
		Use: "preheat IMAGE…", Short: "Fetch images now, before anybody asks",
		Long: `Have the running daemon fetch whole images from their registries, so that the
first peer that wants them finds them here. It returns at once and the daemon
goes on by itself; with --wait it shows how it goes, and fails if that fails.
With --lazy the images can be mounted at once on every node afterwards: what a
lazy start needs is derived now, not at the first mount.`,
		Example: `  supernode preheat debian:12
  supernode preheat --wait --lazy python:3.13
  supernode preheat --wait --platform all quay.io/prometheus/busybox:latest`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, images []string) error {
			c, err := client(cmd)
			if err != nil {
				return err
			}
			requests, err := flags.Requests(cmd, images)
			if err != nil {
				return err
			}
			for i := range requests {
				requests[i].Lazy = lazy
			}
			if wait {
				return flags.Show(cmd, c, requests)
			}
			for _, r := range requests {
				if err := c.Start(cmd.Context(), r); err != nil {
					return err
				}
			}
			return nil
		},
	}
	flags.Add(cmd)
	cmd.Flags().BoolVar(&lazy, "lazy", false, "make the images ready to start lazily, too")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the images are here, and show how it goes")
	return cmd
}
