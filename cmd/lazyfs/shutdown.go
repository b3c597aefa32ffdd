//go:build linux

package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/lazyfs"
)

// shutdownPatience bounds how long the daemon may take to unmount everything.
const shutdownPatience = 2 * time.Minute

func shutdownCommand(client connect) *cobra.Command {
	var order lazyfs.ShutdownOrder
	cmd := &cobra.Command{
		Use: "shutdown", Short: "Unmount everything and end the daemon",
		Long: `Unmount everything that lazyfs mounted, and end the daemon and the process that holds
its mounts: nothing of them is left. It is refused while anything is in use. What was
mounted stays on record, and the next "lazyfs serve" mounts it again; unmount what shall
not come back.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client(cmd)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), shutdownPatience)
			defer cancel()
			return c.Shutdown(ctx, order)
		},
	}
	cmd.Flags().BoolVar(&order.Force, "force", false, "also unmount what is in use: what its users have open fails from then on")
	cmd.Flags().BoolVar(&order.Native, "native", false, "also unmount what the kernel serves itself")
	return cmd
}
