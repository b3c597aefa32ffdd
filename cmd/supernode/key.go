package main

import (
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/distribution/node"
	"github.com/shoal-project/shoal/internal/cli"
	"github.com/shoal-project/shoal/internal/config/members"
	"github.com/shoal-project/shoal/internal/daemon"
)

// defaultKeyFile is where `key new` puts the key when no file is named.
const defaultKeyFile = "/etc/shoal/network.key"

func keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "key", Short: "Make the secret that all nodes of a network share",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use: "new [FILE]", Short: "Make a new network key in a file (default " + defaultKeyFile + ")",
		Long: `Make a new network key. Copy the file to every node, readable for the daemon's
user only, and name it there as network_key. A node without the key cannot even
begin to talk to one that has it. An existing file is never replaced.`,
		Example: "  supernode key new /etc/shoal/network.key",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := defaultKeyFile
			if len(args) == 1 {
				file = args[0]
			}
			if err := node.SaveNetworkKey(file, node.NewNetworkKey()); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", file)
			return err
		},
	})
	return cmd
}

func idCommand(settings *cli.Settings[members.Supernode]) *cobra.Command {
	return &cobra.Command{
		Use: "id", Short: "Print this supernode's address for peers: ID@host:port",
		Long: `Print what peers are configured with as supernode.address: this supernode's name,
which is its public key, and where it listens. The key is made if there is none.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := settings.Load(cmd)
			if err != nil {
				return err
			}
			identity, err := node.LoadIdentity(members.IdentityFile(cfg.DataDir))
			if err != nil {
				return err
			}
			host, err := reachableAt(cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), node.Address{ID: identity.ID(), Host: host})
			return err
		},
	}
}

// reachableAt is where peers dial: as advertised, or where it listens, or under
// the machine's name when it listens everywhere.
func reachableAt(cfg members.Supernode) (string, error) {
	if cfg.Advertise != "" {
		return cfg.Advertise, nil
	}
	address, _, err := daemon.Bindable(cfg.Control.Listen, cfg.NetworkKey != "")
	if err != nil {
		return "", fmt.Errorf("control.listen: %w", err)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); host != "" && !(ip != nil && ip.IsUnspecified()) {
		return address, nil
	}
	if host, err = os.Hostname(); err != nil {
		return "", fmt.Errorf("%w; set advertise to the host:port that peers dial", err)
	}
	return net.JoinHostPort(host, port), nil
}
