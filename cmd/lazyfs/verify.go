//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/lazyfs"
	"github.com/shoal-project/shoal/internal/progress"
)

func verifyCommand(client connect) *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify IMAGE", Short: "Hash everything of an image that is on this node",
		Long: `Hash again everything of a mounted image that is on this node: its file tree, every
chunk against its block digests and the sealed list, and every complete object
against its name. It fails if anything differs; nothing is changed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := client(cmd)
			if err != nil {
				return err
			}
			image := args[0]
			if strings.HasPrefix(image, "/") || strings.HasPrefix(image, ".") {
				if image, err = filepath.Abs(image); err != nil {
					return err
				}
			}
			show := display{w: cmd.ErrOrStderr()}
			last, err := c.Verify(cmd.Context(), image, func(n lazyfs.VerifyNews) { show.line("hashing", n.Bytes, n.Total) })
			if err != nil {
				return err
			}
			return report(cmd, last)
		},
	}
	return cmd
}

func report(cmd *cobra.Command, n lazyfs.VerifyNews) error {
	out := cmd.OutOrStdout()
	for _, bad := range n.Bad {
		fmt.Fprintln(out, bad)
	}
	fmt.Fprintf(out, "%s: %d objects, %s of %s hashed, %d wrong\n", n.Reference, n.Objects, progress.Bytes(n.Bytes), progress.Bytes(n.Total), len(n.Bad))
	if len(n.Bad) > 0 {
		return errors.New("the store has wrong bytes; check the disk, unmount the image, and restart the peer with its store emptied of these objects")
	}
	return nil
}

func eventsCommand(client connect) *cobra.Command {
	return &cobra.Command{
		Use: "events", Short: "Print what happens to images, a line of JSON each",
		Long: `Print what happens to images, a line of JSON each, until it is interrupted: mounted,
unmounted, complete (all of the image is on this node).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(cmd)
			if err != nil {
				return err
			}
			lines := json.NewEncoder(cmd.OutOrStdout())
			return c.Events(cmd.Context(), func(e lazyfs.Event) { _ = lines.Encode(e) })
		},
	}
}
