//go:build linux

package snapshotter_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/fuse/snapshotter/imagestest"
)

const (
	labelTarget = "containerd.io/snapshot.ref"
	labelImage  = "containerd.io/snapshot/cri.image-ref"
)

// world is a snapshotter with its images and a client of it.
type world struct {
	t        *testing.T
	dir      string
	patience time.Duration
	images   *imagestest.Fake
	s        *snapshotter.Snapshotter
	registry *prometheus.Registry
	client   api.SnapshotsClient
	stop     func()
}

// newWorld serves a snapshotter in a directory of its own.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), patience: time.Minute}
	images, err := imagestest.New(filepath.Join(w.dir, "images"))
	if err != nil {
		t.Fatal(err)
	}
	w.images = images
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) root() string { return filepath.Join(w.dir, "root") }

func (w *world) start() {
	w.t.Helper()
	w.registry = prometheus.NewRegistry()
	s, err := snapshotter.New(snapshotter.Config{Root: w.root(), Patience: w.patience}, w.images, slog.New(slog.DiscardHandler), w.registry)
	if err != nil {
		w.t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(w.dir, "s.sock"))
	if err != nil {
		w.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	conn := dial(w.t, filepath.Join(w.dir, "s.sock"))
	w.s, w.client = s, api.NewSnapshotsClient(conn)
	w.stop = func() {
		w.t.Helper()
		conn.Close()
		if err := s.Close(); err != nil {
			w.t.Errorf("closing: %v", err)
		}
		if err := <-served; err != nil {
			w.t.Errorf("serving: %v", err)
		}
	}
}

func dial(t *testing.T, socket string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1, MaxDelay: time.Second}, MinConnectTimeout: time.Minute}))
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func (w *world) restart() {
	w.t.Helper()
	w.stop()
	w.start()
}

func (w *world) prepare(key, parent string, labels map[string]string) ([]*types.Mount, error) {
	r, err := w.client.Prepare(w.t.Context(), &api.PrepareSnapshotRequest{Key: key, Parent: parent, Labels: labels})
	return r.GetMounts(), err
}

// must prepares what cannot fail.
func (w *world) must(key, parent string, labels map[string]string) []*types.Mount {
	w.t.Helper()
	mounts, err := w.prepare(key, parent, labels)
	if err != nil {
		w.t.Fatalf("preparing %s: %v", key, err)
	}
	return mounts
}

func (w *world) commit(name, key string, labels map[string]string) {
	w.t.Helper()
	if _, err := w.client.Commit(w.t.Context(), &api.CommitSnapshotRequest{Name: name, Key: key, Labels: labels}); err != nil {
		w.t.Fatalf("committing %s: %v", name, err)
	}
}

func (w *world) remove(key string) {
	w.t.Helper()
	if _, err := w.client.Remove(w.t.Context(), &api.RemoveSnapshotRequest{Key: key}); err != nil {
		w.t.Fatalf("removing %s: %v", key, err)
	}
}

func (w *world) usage(key string) (bytes, inodes int64) {
	w.t.Helper()
	r, err := w.client.Usage(w.t.Context(), &api.UsageRequest{Key: key})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.Size, r.Inodes
}

// list is the names of what matches.
func (w *world) list(filters ...string) []string {
	w.t.Helper()
	stream, err := w.client.List(w.t.Context(), &api.ListSnapshotsRequest{Filters: filters})
	if err != nil {
		w.t.Fatal(err)
	}
	names := []string{}
	for {
		r, err := stream.Recv()
		if err == io.EOF {
			return names
		}
		if err != nil {
			w.t.Fatal(err)
		}
		for _, info := range r.Info {
			names = append(names, info.Name)
		}
	}
}

// pull asks for the layers of an image as containerd does, the lowest first, and
// unpacks those that are not lazy, which it names.
func (w *world) pull(image *snapshotter.Image, more map[string]string) (unpacked []string) {
	w.t.Helper()
	parent := ""
	for _, target := range chainOf(image) {
		labels := map[string]string{labelTarget: target, labelImage: image.Reference}
		maps.Copy(labels, more)
		_, err := w.prepare("extract "+target, parent, labels)
		switch status.Code(err) {
		case codes.AlreadyExists:
		case codes.OK:
			w.commit(target, "extract "+target, labels)
			unpacked = append(unpacked, target)
		default:
			w.t.Fatalf("preparing %s: %v", target, err)
		}
		parent = target
	}
	return unpacked
}

func chainOf(image *snapshotter.Image) (chain []string) {
	for i, d := range image.DiffIDs {
		if i == 0 {
			chain = append(chain, d.String())
			continue
		}
		id := chunk.SumBytes([]byte(chain[i-1] + " " + d.String()))
		chain = append(chain, id.String())
	}
	return chain
}

// three is an image of three layers.
func (w *world) three() *snapshotter.Image {
	return w.images.Add("docker.io/library/three:1",
		imagestest.Layer{"etc/base": "base", "bin/sh": "sh"},
		imagestest.Layer{"etc/middle": "middle"},
		imagestest.Layer{"etc/top": "top"})
}

func (w *world) wantUsers(n int) {
	w.t.Helper()
	if users := w.images.Users(); len(users) != n {
		w.t.Errorf("views are held for %q, want %d", users, n)
	}
}

func wantCode(t *testing.T, what string, err error, code codes.Code) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("%s: %v, want code %v", what, err, code)
	}
}

// option is the value of a mount's option.
func option(t *testing.T, mounts []*types.Mount, name string) string {
	t.Helper()
	if len(mounts) != 1 {
		t.Fatalf("%d mounts: %v", len(mounts), mounts)
	}
	i := slices.IndexFunc(mounts[0].Options, func(o string) bool { return len(o) > len(name) && o[:len(name)+1] == name+"=" })
	if i < 0 {
		return ""
	}
	return mounts[0].Options[i][len(name)+1:]
}

func background(w *world, target string, labels map[string]string) chan error {
	answered := make(chan error, 1)
	go func() {
		_, err := w.client.Prepare(context.Background(), &api.PrepareSnapshotRequest{Key: "background " + target, Labels: labels})
		answered <- err
	}()
	return answered
}

// counter is a metric by its name and its label's value.
func (w *world) counter(name string) float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			full := f.GetName()
			for _, l := range m.GetLabel() {
				full += " " + l.GetValue()
			}
			if full == name {
				return m.GetCounter().GetValue()
			}
		}
	}
	w.t.Fatalf("there is no metric %s", name)
	return 0
}
