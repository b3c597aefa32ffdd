//go:build linux

package containerd

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/containerd/v2/core/snapshots/testsuite"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/fuse/snapshotter/imagestest"
)

// dial is containerd's client of a snapshotter's socket.
func dial(socket string) (snapshots.Snapshotter, *grpc.ClientConn, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	return proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(conn), "shoal"), conn, nil
}

// serve runs the package on a root of its own.
func serve(_ context.Context, root string) (snapshots.Snapshotter, func() error, error) {
	return serveWith(root, func(*imagestest.Fake) {})
}

// serveWith also gives the images away.
func serveWith(root string, give func(*imagestest.Fake)) (snapshots.Snapshotter, func() error, error) {
	images, err := imagestest.New(filepath.Join(root, "images"))
	if err != nil {
		return nil, nil, err
	}
	give(images)
	cfg := snapshotter.Config{Root: filepath.Join(root, "shoal"), Patience: time.Minute}
	s, err := snapshotter.New(cfg, images, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return nil, nil, err
	}
	socket := filepath.Join(root, "s.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	client, conn, err := dial(socket)
	if err != nil {
		return nil, nil, errors.Join(err, s.Close(), <-served)
	}
	return client, func() error { return errors.Join(conn.Close(), s.Close(), <-served) }, nil
}

// suiteName makes the suite expect what overlayfs can: no rename of a directory
// that lies in a lower one.
const suiteName = "overlayfs"

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: mounting needs root")
	}
	if err := flag.Set("test.root", "true"); err != nil { // else the suite skips what does
		t.Fatal(err)
	}
}

func TestPackage(t *testing.T) {
	needRoot(t)
	testsuite.SnapshotterSuite(t, suiteName, serve)
}
