//go:build linux

// Command lazyfs is Shoal's lazy file system, and the commands that talk to it:
// it mounts a container image before its layers are here.
package main

import (
	"os"

	"github.com/shoal-project/shoal/internal/cli"
)

func main() {
	os.Exit(run())
}

func run() int { return cli.Main(newRoot, os.Args[1:], os.Stdout, os.Stderr) }
