package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/daemon"
)

// Exit statuses.
const (
	statusOK          = 0
	statusFailed      = 1
	statusUsage       = 2
	statusInterrupted = 130
)

const exitStatusHelp = `
EXIT STATUS
  0    done
  1    what was asked for failed
  2    wrong arguments or settings
  130  interrupted
`

// usageError is a mistake in how something was asked for.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Main runs a program and gives its exit status. The first interrupt ends the
// context, a second one kills.
func Main(root func() *cobra.Command, args []string, stdout, stderr io.Writer) int {
	ctx, stop := daemon.Signals(context.Background())
	defer stop()
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	prepare(cmd)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return statusOK
	}
	_, _ = fmt.Fprintf(stderr, "%s: %s\n", cmd.Name(), err)
	var usage usageError
	var settings config.Problems
	switch {
	case errors.As(err, &usage), errors.As(err, &settings), strings.HasPrefix(err.Error(), "unknown command"):
		return statusUsage
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return statusInterrupted
	}
	return statusFailed
}

// prepare sets what holds for every command below root.
func prepare(root *cobra.Command) {
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetHelpTemplate(root.HelpTemplate() + exitStatusHelp)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath())}
	})
	for _, cmd := range every(root) {
		if check := cmd.Args; check != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				if err := check(cmd, args); err != nil {
					return usageError{fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath())}
				}
				return nil
			}
		}
	}
}

func every(root *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{root}
	for _, sub := range root.Commands() {
		all = append(all, every(sub)...)
	}
	return all
}

// Logger writes what a daemon has to say to standard error.
func Logger(w io.Writer, cfg config.Log) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		level = slog.LevelInfo // Validate refused anything else
	}
	options := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
