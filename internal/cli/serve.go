package cli

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/admin"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/daemon"
)

// Daemon is what the commands need to know of a daemon and its settings C.
type Daemon[C any] struct {
	Settings *Settings[C]
	// Run runs it until its context ends.
	Run func(context.Context, C, *slog.Logger) error
	// Stop tells users what it does when it is stopped.
	Stop string
	// Common picks the sections that every daemon has.
	Common func(C) (config.Log, config.Memory, config.Admin)
}

// ServeCommand runs a daemon.
func (d Daemon[C]) ServeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Run the daemon until it is interrupted",
		Long: "Run the daemon until SIGINT or SIGTERM: then it " + d.Stop,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := d.Settings.Load(cmd)
			if err != nil {
				return err
			}
			log, memory, _ := d.Common(cfg)
			daemon.LimitMemory(int64(memory.Limit), memory.GrowthPercent)
			return d.Run(cmd.Context(), cfg, Logger(cmd.ErrOrStderr(), log))
		},
	}
}

// Client is a client for the running daemon, where the settings say it is.
func (d Daemon[C]) Client(cmd *cobra.Command) (*admin.Client, error) {
	cfg, err := d.Settings.Load(cmd)
	_, _, local := d.Common(cfg)
	return admin.NewClient(local.Socket), err
}
