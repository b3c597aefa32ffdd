// Command demo shows Shoal at work on one machine, with nothing installed: a
// registry with a real image (the machine's own Go tree, a quarter of a
// gigabyte in six layers), one supernode and four peers as separate processes
// on loopback. All peers pull the image at once through their registry ports;
// every digest is checked, and a table says where the bytes came from. Then the
// image is started on a node that has nothing of it, once by pulling and unpacking
// it and once by mounting it lazily (as root, where there is /dev/fuse).
//
// It uses a temporary directory and free ports, and leaves nothing behind. With
// -keep it stays up and says what to try, until it is interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/shoal-project/shoal/internal/daemon"
)

func main() {
	ctx, stop := daemon.Signals(context.Background())
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	bin := flags.String("bin", "bin", "directory of the programs")
	peers := flags.Int("peers", 4, "number of peers, 1 to 16")
	mode := flags.String("mode", "supernode", "origin mode: supernode or spread")
	keep := flags.Bool("keep", false, "stay up afterwards")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *peers < 1 || *peers > 16 {
		return fmt.Errorf("-peers %d: use 1 to 16", *peers)
	}
	dir, err := os.MkdirTemp("", "shoal-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	fmt.Fprintln(out, "building an image of the Go tree, and a registry that has it …")
	registry, err := startRegistry(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, registry.close()) }()

	fmt.Fprintf(out, "starting a supernode and %d peers in %s …\n", *peers, dir)
	c, err := startCluster(ctx, *bin, dir, *mode, registry.host, *peers)
	defer func() { err = errors.Join(err, c.stop()) }()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "pulling %s on %d peers at once …\n\n", registry.image, *peers)
	result, err := pullEverywhere(ctx, c, registry)
	if err != nil {
		return err
	}
	result.print(out)
	if result.wrong() {
		return errors.New("the registry was read more than once")
	}
	if err := showLazy(ctx, out, c, registry); err != nil {
		return err
	}
	if *keep {
		c.invite(out, registry)
		<-ctx.Done()
	}
	return nil
}
