//go:build linux

package main

import (
	"context"
	"log/slog"

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
	takeOver := false
	run := func(ctx context.Context, cfg config.Lazyfs, log *slog.Logger) error {
		return lazy.Run(ctx, cfg, lazy.Options{Hold: holdProgram(), Mount: mountProgram(), Guard: guardProgram(), TakeOver: takeOver}, log)
	}
	d := cli.Daemon[config.Lazyfs]{
		Settings: settings, Run: run,
		Stop: `leaves mounts where they
are, and reads of what is not in the kernel's memory wait for the next "lazyfs serve":
so it also is after a kill, or an upgrade. If nothing is mounted, nothing stays.
"lazyfs shutdown" ends it and unmounts everything, and so does a signal where mounts
cannot outlive the daemon: before Linux 6.9, or with resume.enabled off. What is
recorded is mounted again by the next start then.`,
		Common: func(c config.Lazyfs) (config.Log, config.Memory, config.Admin) { return c.Log, c.Memory, c.Admin },
	}
	serve := d.ServeCommand()
	serve.Flags().BoolVar(&takeOver, "take-over", false, "end a daemon that runs, and go on in its place (upgrades)")
	client := func(cmd *cobra.Command) (lazyfs.Client, error) {
		c, err := d.Client(cmd)
		return lazyfs.Client{Client: c}, err
	}
	root.AddCommand(
		serve, holdCommand(), mounterCommand(), guardCommand(), shutdownCommand(client), mountCommand(client), unmountCommand(client), listCommand(client), statusCommand(client),
		verifyCommand(client), eventsCommand(client), pullCommand(settings, client), materializeCommand(settings), cli.ConfigCommand(settings), cli.VersionCommand(),
	)
	return root
}
