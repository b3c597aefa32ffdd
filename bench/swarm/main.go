//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/shoal-project/shoal/bench/client"
	"github.com/shoal-project/shoal/bench/lab"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "swarm:", err)
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
	config.Hosts, config.Rate = append([]string{"origin", "supernode"}, lab.Peers(o.peers)...), o.rate
	return lab.Run(ctx, config, func(ctx context.Context, l *lab.Lab) error {
		return measure(ctx, l, o, os.Stdout, os.Stderr)
	})
}

// measure runs everything and reports, also what was done before a failure.
func measure(ctx context.Context, l *lab.Lab, o options, out, progress io.Writer) error {
	b, err := newBench(ctx, l, o, progress)
	if err != nil {
		return err
	}
	defer b.close()
	err = b.all(ctx)
	if len(b.results) > 0 {
		err = errors.Join(err, b.report(out))
	}
	if err == nil && o.keep {
		err = b.waitAround(ctx)
	}
	return err
}

// waitAround leaves the lab for the user to look at.
func (b *bench) waitAround(ctx context.Context) error {
	fmt.Fprintln(b.progress, "the lab stays up; enter a host with one of these, end it with an interrupt:")
	for _, h := range b.lab.Hosts() {
		fmt.Fprintf(b.progress, "  %-10s %-12s %s   # files in %s\n", h.Name(), h.Addr(), h.Enter(), h.Dir())
	}
	<-ctx.Done()
	return nil
}
