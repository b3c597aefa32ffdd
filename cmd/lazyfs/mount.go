//go:build linux

package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/cli"
	"github.com/shoal-project/shoal/internal/containerd/transfer"
	"github.com/shoal-project/shoal/internal/lazyfs"
	"github.com/shoal-project/shoal/internal/lazyfs/mountpoint"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/internal/progress"
)

func mountCommand(client connect) *cobra.Command {
	var order lazyfs.MountOrder
	var credentials cli.Credentials
	var uids, gids []string
	quiet := false
	cmd := &cobra.Command{
		Use: "mount IMAGE DIR", Short: "Mount an image on an empty directory",
		Long: `Mount an image of a registry on an empty directory, read-only. It returns when the
image's files are there to see; their bytes come as they are read.

With --rw, an overlay takes changes: they lie in a scratch directory, survive a
restart of the daemon, and are removed by unmount.

With --native the kernel itself serves the image, with nothing of Shoal in the way
of a read. It is refused while any byte is missing: --wait on a mount without it
waits until none is.

With --uidmap and --gidmap the files are shown as those of other users and groups,
for a container in a user namespace, and nothing is chowned. Each is a range
INSIDE:OUTSIDE:COUNT, as in newuidmap(1) and podman, and may be repeated; of the two
one may be left out.`,
		Example: `  lazyfs mount debian:12 /mnt
  lazyfs mount --rw --platform linux/arm64 quay.io/prometheus/busybox:latest /srv/root
  lazyfs mount --wait debian:12 /mnt && lazyfs mount --native debian:12 /mnt2
  lazyfs mount --rw --uidmap 0:100000:65536 debian:12 /srv/root`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			c, err := client(cmd)
			if err != nil {
				return err
			}
			authorization, err := credentials.Read(cmd)
			if err != nil {
				return err
			}
			if order.Target, err = filepath.Abs(args[1]); err != nil {
				return err
			}
			if order.Scratch != "" {
				if order.Scratch, err = filepath.Abs(order.Scratch); err != nil {
					return err
				}
			}
			order.Image = args[0]
			order.Owners = mountpoint.Owners{UIDs: strings.Join(uids, ","), GIDs: strings.Join(gids, ",")}
			if order.Authorization, err = authorization(order.Image); err != nil {
				return err
			}
			show := display{w: cmd.ErrOrStderr(), quiet: quiet}
			if err := c.Mount(cmd.Context(), order, show.tell); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), show.target)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&order.Platform, "platform", "", "platform, such as linux/arm64 (default: this machine's)")
	flags.BoolVar(&order.Writable, "rw", false, "let the image be changed, in a scratch directory")
	flags.StringVar(&order.Scratch, "scratch", "", "make the scratch directory of --rw in this one (default: below data_dir)")
	flags.BoolVar(&order.Native, "native", false, "have the kernel serve the image, if all of it is here")
	flags.StringSliceVar(&uids, "uidmap", nil, "show user ids as others, such as 0:100000:65536 (default: as --gidmap)")
	flags.StringSliceVar(&gids, "gidmap", nil, "show group ids as others (default: as --uidmap)")
	flags.BoolVar(&order.Wait, "wait", false, "wait until all of the image is here")
	flags.BoolVarP(&quiet, "quiet", "q", false, "do not show how far it is")
	credentials.Add(cmd)
	return cmd
}

// display shows how far a mount is, a line for each tenth.
type display struct {
	w      io.Writer
	quiet  bool
	last   string
	target string
}

var stages = map[string]string{
	nodeapi.StageResolve: "resolving the image",
	nodeapi.StageLayers:  "reading its layers, as nobody did before",
	nodeapi.StageTree:    "bringing its file tree",
	transfer.StageFetch:  "bringing its blobs",
	transfer.StageUnpack: "unpacking a layer",
}

func (d *display) tell(n lazyfs.MountNews) {
	switch {
	case n.Mount != nil:
		d.target = n.Mount.Target
	case n.Progress != nil:
		d.line(stages[n.Progress.Stage], n.Progress.Done, n.Progress.Total)
	case n.Fill != nil:
		d.line("bringing the rest", n.Fill.Present, n.Fill.Bytes)
	}
}

func (d *display) line(what string, done, total int64) {
	line := what
	if total > 0 {
		line += fmt.Sprintf(": %d %% of %s", done*10/total*10, progress.Bytes(total))
	}
	if d.quiet || line == d.last {
		return
	}
	d.last = line
	_, _ = fmt.Fprintln(d.w, line)
}

func unmountCommand(client connect) *cobra.Command {
	detach := false
	cmd := &cobra.Command{
		Use: "unmount DIR", Aliases: []string{"umount"}, Short: "Unmount an image",
		Long: `Unmount what lazyfs mounted on a directory, remove what a writable mount had
changed, and let the peer evict the image's bytes when it needs the room.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := client(cmd)
			if err != nil {
				return err
			}
			target, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return c.Unmount(cmd.Context(), target, detach)
		},
	}
	cmd.Flags().BoolVar(&detach, "detach", false, "unmount although it is in use: what its users have open fails from then on")
	return cmd
}
