// Command supernode is Shoal's coordinator, and the commands that talk to it: it
// fetches every image once, seals it, and decides who takes what from whom.
package main

import (
	"os"

	"github.com/shoal-project/shoal/internal/cli"
)

func main() {
	os.Exit(run())
}

func run() int { return cli.Main(newRoot, os.Args[1:], os.Stdout, os.Stderr) }
