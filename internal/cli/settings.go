package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/shoal-project/shoal/internal/config"
)

// Settings binds the flags that choose a daemon's settings. C is the struct of
// its settings, and a pointer to it can be loaded.
type Settings[C any] struct {
	defaults func() C
	file     string
	standard string
	set      []string
	flags    []flagKey
}

// flagKey is a flag that stands for one key.
type flagKey struct {
	name, key string
	value     *string
}

// AddSettings adds --config, --set and one flag for each given key
// ("data-dir=data_dir") to a command and everything below it.
func AddSettings[C any](cmd *cobra.Command, defaults func() C, file string, keys ...string) *Settings[C] {
	s := &Settings[C]{defaults: defaults, standard: file}
	flags := cmd.PersistentFlags()
	flags.StringVar(&s.file, "config", "", "settings file (default "+file+", if there is one)")
	flags.StringArrayVar(&s.set, "set", nil, "set one key, such as store.quota=50GiB; may be repeated")
	for _, pair := range keys {
		name, key, _ := strings.Cut(pair, "=")
		meaning, _, _ := strings.Cut(config.Meanings[key], ". ")
		s.flags = append(s.flags, flagKey{name, key, flags.String(name, "", meaning+" ("+key+")")})
	}
	return s
}

// Load reads the settings; warnings go to standard error.
func (s *Settings[C]) Load(cmd *cobra.Command) (C, error) {
	cfg := s.defaults()
	from := config.Sources{File: s.standard, Environ: os.Environ()}
	for _, name := range []string{s.file, os.Getenv(config.EnvName("config"))} {
		if name != "" {
			from.File, from.Required = name, true
			break
		}
	}
	for _, f := range s.flags {
		if cmd.Flags().Changed(f.name) {
			from.Set = append(from.Set, f.key+"="+*f.value)
		}
	}
	from.Set = append(from.Set, s.set...)
	warnings, err := config.Load(&cfg, from)
	for _, text := range warnings {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: warning: %s\n", cmd.Root().Name(), text)
	}
	if err != nil {
		return cfg, usageError{err}
	}
	return cfg, nil
}

// ConfigCommand is `config print` and `config check`.
func ConfigCommand[C any](s *Settings[C]) *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Show or check the settings",
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use: "print", Short: "Print the effective settings as a file that could be used",
		Long: `Print the effective settings: defaults, file, environment and flags together, as a
YAML file with the meaning of every key. There are no secrets in settings, only
the names of files that hold them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := s.Load(cmd)
			if err != nil {
				return err
			}
			return config.Print(cmd.OutOrStdout(), &cfg)
		},
	}, &cobra.Command{
		Use: "check", Short: "Tell everything that is wrong with the settings",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := s.Load(cmd); err != nil {
				return err
			}
			return say(cmd.OutOrStdout(), "the settings are good")
		},
	})
	return cmd
}

func say(w io.Writer, text string) error {
	_, err := fmt.Fprintln(w, text)
	return err
}
