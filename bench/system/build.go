//go:build linux

package system

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

const module = "github.com/shoal-project/shoal"

// Binaries are Shoal's daemons, ready to run.
type Binaries struct{ Peer, Supernode, LazyFS string }

// BuildProgram compiles one more program of this source tree, static, to a file.
func BuildProgram(ctx context.Context, program, file string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", file, program)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s (run this inside the source tree): %w\n%s", program, err, out)
	}
	return nil
}

// In are the daemons that lie in a directory already.
func In(dir string) (Binaries, error) {
	dir, err := filepath.Abs(dir) // they are started in other directories
	if err != nil {
		return Binaries{}, err
	}
	b := Binaries{Peer: filepath.Join(dir, "peer"), Supernode: filepath.Join(dir, "supernode"), LazyFS: filepath.Join(dir, "lazyfs")}
	for _, file := range []string{b.Peer, b.Supernode, b.LazyFS} {
		if _, err := exec.LookPath(file); err != nil {
			return Binaries{}, fmt.Errorf("%w; build the programs with `make build`", err)
		}
	}
	return b, nil
}

// Build compiles the daemons of this source tree into dir.
func Build(ctx context.Context, dir string) (Binaries, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator),
		module+"/cmd/peer", module+"/cmd/supernode", module+"/cmd/lazyfs")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("building the daemons (run this inside the source tree): %w\n%s", err, out)
	}
	return In(dir)
}
