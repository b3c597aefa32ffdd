// Command peer is Shoal's node daemon, and the commands that talk to it: a
// registry for the container engines of this machine, a store of chunks, and a
// member of the swarm.
package main

import (
	"os"

	"github.com/shoal-project/shoal/internal/cli"
)

func main() {
	os.Exit(run())
}

func run() int { return cli.Main(newRoot, os.Args[1:], os.Stdout, os.Stderr) }
