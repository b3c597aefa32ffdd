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
type Binaries struct{ Peer, Supernode string }

// Build compiles the daemons of this source tree into dir.
func Build(ctx context.Context, dir string) (Binaries, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), module+"/cmd/peer", module+"/cmd/supernode")
	if out, err := cmd.CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("building peer and supernode (run this inside the source tree): %w\n%s", err, out)
	}
	return Binaries{Peer: filepath.Join(dir, "peer"), Supernode: filepath.Join(dir, "supernode")}, nil
}
