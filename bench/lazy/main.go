//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/bench/reader"
)

// storeBytes bounds the hub's files: the registry's blobs, and a supernode's
// store with the same and the plain bytes.
const storeBytes = 12 << 30

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lazy:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == reader.Argument {
		return reader.Main(ctx, args[1:], os.Stdout)
	}
	o, err := parseOptions(args)
	if err != nil {
		return err
	}
	if err := lab.Available(); err != nil {
		return err
	}
	if err := isolate(); err != nil {
		return err
	}
	return measure(ctx, o)
}

// measure runs everything and reports, also what was done before a failure. The
// directories go last, when nothing runs any more.
func measure(ctx context.Context, o options) (err error) {
	scratch, err := newScratch(o.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, removeScratch(scratch)) }()
	config := lab.Default()
	config.Hosts, config.Rate, config.StoreBytes = []string{"hub", "node"}, 0, storeBytes
	return lab.Run(ctx, config, func(ctx context.Context, l *lab.Lab) (err error) {
		b, err := newBench(ctx, l, o, scratch, os.Stderr)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.close()) }()
		err = b.all(ctx)
		if len(b.samples) > 0 {
			err = errors.Join(err, b.report(os.Stdout))
		}
		return err
	})
}
