//go:build linux

package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/fuse/layerstore"
	"github.com/shoal-project/shoal/internal/holder"
	"github.com/shoal-project/shoal/internal/mounter"
)

// holdProgram is this program, to run holdCommand. Under its name in /proc it is
// there also after the file was replaced.
func holdProgram() []string { return []string{"/proc/self/exe", "lazyfs", "hold"} }

// holdCommand is the process that holds the file system between two daemons.
func holdCommand() *cobra.Command {
	return &cobra.Command{
		Use: "hold SOCKET", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return holder.Main(args[0], func() { _ = dropPages() }) // it is as useful with them
		},
	}
}

// mountProgram is this program, to run mounterCommand.
func mountProgram() []string { return []string{"/proc/self/exe", "lazyfs", "mounter"} }

// mounterCommand is the process that has the kernel read images' trees.
func mounterCommand() *cobra.Command {
	return &cobra.Command{
		Use: "mounter", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return mounter.Main(func() { _ = dropPages() })
		},
	}
}

// guardProgram is this program, to run guardCommand.
func guardProgram() []string { return []string{"/proc/self/exe", "lazyfs", "guard"} }

// guardCommand is the process that unmounts the layer store of a daemon that was
// killed.
func guardCommand() *cobra.Command {
	return &cobra.Command{
		Use: "guard DIR", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			_ = dropPages()
			return layerstore.Guard(args[0], os.Stdin)
		},
	}
}
