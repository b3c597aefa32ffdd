package cli

import (
	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/version"
)

// VersionCommand says which build this is.
func VersionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return say(cmd.OutOrStdout(), version.Line(cmd.Root().Name()))
		},
	}
}
