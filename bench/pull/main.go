//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/shoal-project/shoal/bench/client"
	"github.com/shoal-project/shoal/bench/lab"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// options are what the command line asks for.
type options struct {
	sizes   []int64
	small   int
	large   int
	slow    float64
	json    string
	verbose bool
}

// pairs is how often a size is measured: what takes longer varies less.
func (o options) pairs(size int64) int {
	if size < 64*mib {
		return o.small
	}
	return o.large
}

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pull:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == client.Argument {
		return client.Main(ctx, os.Stdin, os.Stdout)
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	if err := lab.Available(); err != nil {
		return err
	}
	config := lab.Default()
	config.Hosts, config.Rate = []string{"node"}, 0
	return lab.Run(ctx, config, func(ctx context.Context, l *lab.Lab) (err error) {
		b, err := newBench(ctx, l, o, os.Stderr)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.close()) }()
		err = b.all(ctx)
		if len(b.results) > 0 {
			err = errors.Join(err, b.report(os.Stdout))
		}
		return err
	})
}

func parseOptions(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("pull", flag.ContinueOnError)
	sizes := flags.String("sizes", "1KiB,4MiB,512MiB", "layer sizes")
	flags.IntVar(&o.small, "pairs", 12, "pairs of pulls of each size under 64 MiB")
	flags.IntVar(&o.large, "large-pairs", 5, "pairs of pulls of each larger size")
	slow := flags.Float64("slow", 40, "MB/s a connection of the slow registry; 0: leave it out")
	flags.StringVar(&o.json, "json", "", "also write every pull to this `file`")
	flags.BoolVar(&o.verbose, "v", false, "tell of every pair as it ends")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.slow = *slow * 1e6
	var errs []error
	for text := range strings.SplitSeq(*sizes, ",") {
		size, err := parseSize(text)
		errs = append(errs, err)
		o.sizes = append(o.sizes, size)
	}
	if o.small < 1 || o.large < 1 {
		errs = append(errs, errors.New("-pairs and -large-pairs: at least one"))
	}
	if *slow < 0 {
		errs = append(errs, errors.New("-slow: less than zero"))
	}
	return o, errors.Join(errs...)
}

func parseSize(text string) (int64, error) {
	digits, unit := text, int64(1)
	for suffix, size := range map[string]int64{"KiB": kib, "MiB": mib} {
		if rest, ok := strings.CutSuffix(text, suffix); ok {
			digits, unit = rest, size
		}
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("-sizes: %q is not a number of bytes, KiB or MiB", text)
	}
	return n * unit, nil
}

func formatSize(size int64) string {
	switch {
	case size%mib == 0:
		return fmt.Sprintf("%d MiB", size/mib)
	case size%kib == 0:
		return fmt.Sprintf("%d KiB", size/kib)
	}
	return fmt.Sprintf("%d B", size)
}
