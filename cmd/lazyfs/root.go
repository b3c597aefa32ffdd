//go:build linux

package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/assembly/lazy"
	"github.com/shoal-project/shoal/internal/cli"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/lazyfs"
)

// connect gives a client for the running daemon.
type connect func(*cobra.Command) (lazyfs.Client, error)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "lazyfs", Short: "Mount container images before they are downloaded",
		Long: `lazyfs mounts any image of a registry as it is, with no conversion and no container
engine: files are there at once, and their bytes come when they are read, through
this node's peer; the rest follows in the background. Once all of an image is
here, it needs neither peer nor supernode nor registry.`,
		Example: `  lazyfs serve
  lazyfs mount debian:12 /mnt
  chroot /mnt cat /etc/os-release
  lazyfs status debian:12
  lazyfs unmount /mnt`,
	}
	settings := cli.AddSettings(root, config.DefaultLazyfs, config.DefaultLazyfsFile,
		"data-dir=data_dir", "run-dir=run_dir", "peer-socket=peer.socket",
		"socket=admin.socket", "log-level=log.level")
	d := cli.Daemon[config.Lazyfs]{
		Settings: settings, Run: lazy.Run,
		Stop: `unmounts every image, by force
where one is in use, and remembers them: the next start mounts them again, with
what writable ones had changed. Native mounts stay. A second signal ends it at once;
the next start clears away what that leaves.`,
		Common: func(c config.Lazyfs) (config.Log, config.Memory, config.Admin) { return c.Log, c.Memory, c.Admin },
	}
	client := func(cmd *cobra.Command) (lazyfs.Client, error) {
		c, err := d.Client(cmd)
		return lazyfs.Client{Client: c}, err
	}
	root.AddCommand(
		d.ServeCommand(), mountCommand(client), unmountCommand(client), listCommand(client), statusCommand(client),
		verifyCommand(client), eventsCommand(client), cli.ConfigCommand(settings), cli.VersionCommand(),
	)
	return root
}
