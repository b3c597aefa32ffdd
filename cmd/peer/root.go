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
		Use: "peer", Short: "Pull container images through the swarm",
		Long: `peer is the daemon of one node. Container engines use it as a registry mirror
(127.0.0.1:7410); it gets what they ask for from its own store, from the other
nodes, from the supernode, or from the registry itself, whatever is soonest.

With no supernode configured it works alone.`,
		Example: `  peer serve
  peer serve --supernode 12D3KooW…@10.0.0.1:7401 --network-key /etc/shoal/network.key
  docker pull localhost:7410/quay.io/prometheus/busybox:latest`,
	}
	settings := cli.AddSettings(root, members.DefaultPeer, members.DefaultPeerFile,
		"data-dir=data_dir", "network-key=network_key", "supernode=supernode.address",
		"registry=registry.listen", "socket=admin.socket", "log-level=log.level")
	d := cli.Daemon[members.Peer]{
		Settings: settings, Run: assembly.Peer,
		Stop: `takes no new requests, finishes
those that run (shutdown.grace), says goodbye to the swarm and writes its store
to disk. A second signal ends it at once; nothing that was stored is lost.`,
		Common: func(c members.Peer) (config.Log, config.Memory, config.Admin) { return c.Log, c.Memory, c.Admin },
	}
	root.AddCommand(
		d.ServeCommand(), pullCommand(d.Client), membercmd.StatusCommand(d.Client), membercmd.ExplainCommand(d.Client),
		cli.ConfigCommand(settings), cli.VersionCommand(),
	)
	return root
}

func pullCommand(client func(*cobra.Command) (*admin.Client, error)) *cobra.Command {
	var flags membercmd.PullFlags
	cmd := &cobra.Command{
		Use: "pull IMAGE…", Short: "Bring images into this node's store, through the swarm",
		Long: `Have the running daemon bring whole images into its store: manifests, config and
layers. An engine that pulls them afterwards finds everything on this node.

On a terminal it shows the rate of each source: origin, supernode, peers.`,
		Example: `  peer pull debian:12 quay.io/prometheus/busybox:latest
  peer pull --platform linux/arm64 debian:12
  pass registry | peer pull --username me --password-stdin registry.example.com/app:1`,
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
			return flags.Show(cmd, c, requests)
		},
	}
	flags.Add(cmd)
	return cmd
}
