//go:build linux

package containerd

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
)

var lazyfs = flag.String("lazyfs", "", "the built `program`; without it, the suite runs on the package alone")

const config = `
data_dir: %[1]s/data
run_dir: %[1]s/run
peer: {socket: %[1]s/peer.sock}
snapshotter: {socket: %[1]s/s.sock, root: %[1]s/shoal}
admin: {socket: %[1]s/lazyfs.sock, listen: "127.0.0.1:0"}
`

// serveProgram runs the program, without a peer, on a root of its own.
func serveProgram(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
	file := filepath.Join(root, "lazyfs.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, root), 0o600); err != nil {
		return nil, nil, err
	}
	var out bytes.Buffer
	cmd := exec.Command(*lazyfs, "serve", "--config", file)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop := func() error {
		return errors.Join(cmd.Process.Signal(os.Interrupt), <-ended)
	}
	socket := filepath.Join(root, "s.sock")
	for {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		select {
		case err := <-ended:
			return nil, nil, fmt.Errorf("lazyfs ended: %w\n%s", err, &out)
		case <-time.After(20 * time.Millisecond):
		}
	}
	client, conn, err := dial(socket)
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return client, func() error { return errors.Join(conn.Close(), stop()) }, nil
}

func TestProgram(t *testing.T) {
	needRoot(t)
	if *lazyfs == "" {
		t.Skip("SKIP: no -lazyfs was given; run `make e2e`")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("SKIP: no /dev/fuse")
	}
	testsuite.SnapshotterSuite(t, suiteName, serveProgram)
}
