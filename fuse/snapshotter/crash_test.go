//go:build linux

package snapshotter_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/fuse/snapshotter/imagestest"
)

// childDir makes this test's program a daemon on a directory, which is killed.
const childDir = "SHOAL_TEST_SNAPSHOTTER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := serveForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func serveForever(dir string) error {
	images, err := imagestest.New(filepath.Join(dir, "images"))
	if err != nil {
		return err
	}
	addImages(images)
	s, err := snapshotter.New(snapshotter.Config{Root: filepath.Join(dir, "root"), Patience: time.Minute}, images,
		slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	socket := filepath.Join(dir, "s.sock")
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	return s.Serve(l)
}

func addImages(f *imagestest.Fake) (all []*snapshotter.Image) {
	for i := range 4 {
		all = append(all, f.Add(fmt.Sprintf("image:%d", i),
			imagestest.Layer{"base": "shared"}, imagestest.Layer{"middle": strconv.Itoa(i / 2)}, imagestest.Layer{"top": strconv.Itoa(i)}))
	}
	return all
}

// model is what a client knows: names are true if their snapshot was
// acknowledged, and gone if its removal was; of what was not answered it knows
// nothing.
type model struct {
	t        *testing.T
	dir      string
	random   *rand.Rand
	images   []*snapshotter.Image
	known    map[string]bool
	client   api.SnapshotsClient
	counter  int
	requests int
}

// A daemon that is killed at any moment loses nothing that it acknowledged, and
// the next one finds what is held, what lies on the disk and what is recorded the
// same.
func TestKilledAtAnyMoment(t *testing.T) {
	dir := t.TempDir()
	fake, err := imagestest.New(filepath.Join(dir, "images"))
	if err != nil {
		t.Fatal(err)
	}
	m := &model{t: t, dir: dir, random: rand.New(rand.NewPCG(1, 2)), images: addImages(fake), known: map[string]bool{}}
	for round := range 15 {
		m.live(round)
		if t.Failed() {
			return
		}
	}
	t.Logf("%d requests", m.requests)
}

// live runs a daemon, checks it, works with it, and kills it.
func (m *model) live(round int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+m.dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	conn := dial(m.t, filepath.Join(m.dir, "s.sock"))
	defer conn.Close()
	m.client = api.NewSnapshotsClient(conn)
	m.check(round)
	life := time.Duration(m.random.IntN(100_000)) * time.Microsecond
	ctx, cancel := context.WithCancel(m.t.Context())
	working := make(chan struct{})
	go func() {
		defer close(working)
		for ctx.Err() == nil {
			m.step(ctx)
		}
	}()
	time.Sleep(life)
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // says that it was killed
	cancel()
	<-working
}

// step makes a request, and notes what is known after it.
func (m *model) step(ctx context.Context) {
	image := m.images[m.random.IntN(len(m.images))]
	chain := chainOf(image)
	switch m.random.IntN(4) {
	case 0, 1:
		parent := ""
		for _, target := range chain {
			labels := map[string]string{labelTarget: target, labelImage: image.Reference}
			_, err := m.client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "extract", Parent: parent, Labels: labels})
			if m.note(target, status.Code(err) == codes.AlreadyExists, err); status.Code(err) != codes.AlreadyExists {
				return
			}
			parent = target
		}
	case 2:
		m.counter++
		key := fmt.Sprint("container ", m.counter)
		_, err := m.client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: key, Parent: chain[m.random.IntN(3)]})
		m.note(key, true, err)
		if err == nil && m.random.IntN(2) == 0 {
			_, err = m.client.Commit(ctx, &api.CommitSnapshotRequest{Name: "of " + key, Key: key})
			m.note(key, false, err)
			m.note("of "+key, true, err)
		}
	case 3:
		for name := range m.known {
			_, err := m.client.Remove(ctx, &api.RemoveSnapshotRequest{Key: name})
			m.note(name, false, err)
			return
		}
	}
}

// note keeps what an answer tells of a snapshot.
func (m *model) note(name string, there bool, err error) {
	m.requests++
	switch status.Code(err) {
	case codes.OK, codes.AlreadyExists:
		m.known[name] = there
	case codes.FailedPrecondition, codes.NotFound: // nothing changed
	default:
		delete(m.known, name)
	}
}

// check compares the records of a new daemon with the model, the views that are
// held, and the directories.
func (m *model) check(round int) {
	m.t.Helper()
	stream, err := m.client.List(m.t.Context(), &api.ListSnapshotsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		m.t.Fatalf("round %d: %v", round, err)
	}
	infos := map[string]*api.Info{}
	for {
		r, err := stream.Recv()
		if err != nil {
			break
		}
		for _, info := range r.Info {
			infos[info.Name] = info
		}
	}
	for name, there := range m.known {
		if (infos[name] != nil) != there {
			m.t.Errorf("round %d: %s is there: %t, want %t", round, name, !there, there)
		}
	}
	if infos["extract"] != nil {
		m.t.Errorf("round %d: the key of a lazy layer is there", round)
	}
	m.checkDisk(round, infos)
}

func (m *model) checkDisk(round int, infos map[string]*api.Info) {
	m.t.Helper()
	fake, err := imagestest.New(filepath.Join(m.dir, "images"))
	if err != nil {
		m.t.Fatal(err)
	}
	ordinary := 0
	needed := map[string]bool{}
	for _, image := range m.images {
		if top := chainOf(image)[2]; infos[top] != nil {
			needed[top] = true
		}
	}
	for _, info := range infos {
		if info.Labels[labelTarget] != "" {
			continue
		}
		ordinary++
		if infos[info.Parent].GetLabels()[labelTarget] != "" {
			needed[info.Parent] = true
		}
	}
	// A container that was not acknowledged may be recorded, and its view is held
	// in the background.
	for range 1000 {
		if len(fake.Users()) >= len(needed) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if users := fake.Users(); len(users) != len(needed) {
		m.t.Errorf("round %d: views are held for %q, needed by %d: %v", round, users, len(needed), needed)
	}
	dirs, err := os.ReadDir(filepath.Join(m.dir, "root", "snapshots"))
	if err != nil {
		m.t.Fatal(err)
	}
	dirs = slices.DeleteFunc(dirs, func(e os.DirEntry) bool {
		target, err := os.Readlink(filepath.Join(m.dir, "root", "snapshots", e.Name(), "fs"))
		return err == nil && target != ""
	})
	if len(dirs) != ordinary {
		m.t.Errorf("round %d: %d directories of %d ordinary snapshots", round, len(dirs), ordinary)
	}
}
