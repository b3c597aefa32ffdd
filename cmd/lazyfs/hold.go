//go:build linux

package main

import (
	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/holder"
)

// holdProgram is this program, to run holdCommand. Under its name in /proc it is
// there also after the file was replaced.
func holdProgram() []string { return []string{"/proc/self/exe", "lazyfs", "hold"} }

// holdCommand is the process that holds the file system between two daemons.
func holdCommand() *cobra.Command {
	return &cobra.Command{
		Use: "hold SOCKET", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return holder.Main(args[0]) },
	}
}
