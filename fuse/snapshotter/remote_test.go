//go:build linux

package snapshotter_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	api "github.com/containerd/containerd/api/services/snapshots/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/fuse/snapshotter/imagestest"
)

func TestLazyPull(t *testing.T) {
	w := newWorld(t)
	image := w.three()
	chain := chainOf(image)
	if unpacked := w.pull(image, nil); len(unpacked) > 0 {
		t.Errorf("unpacked: %q", unpacked)
	}
	want := slices.Sorted(slices.Values(chain))
	if names := w.list(); !slices.Equal(names, want) {
		t.Errorf("snapshots %q, want the chain alone: %q", names, want)
	}
	if opens := w.images.Opens(); len(opens) != 1 {
		t.Errorf("the image was opened %d times for its layers", len(opens))
	}
	w.wantUsers(1) // the top's
	for i, name := range chain {
		bytes, inodes := w.usage(name)
		if want := map[bool]int64{true: 3}[i == 2]; bytes != 1000*want || inodes != want {
			t.Errorf("layer %d takes %d bytes, %d inodes", i+1, bytes, inodes)
		}
	}
	r, err := w.client.Stat(t.Context(), &api.StatSnapshotRequest{Key: chain[1]})
	if err != nil || r.Info.Kind != api.Kind_COMMITTED || r.Info.Parent != chain[0] || r.Info.Labels[labelTarget] != chain[1] {
		t.Errorf("the middle: %v, %v", r.GetInfo(), err)
	}
	mounts := w.must("container", chain[2], nil)
	if lower := option(t, mounts, "lowerdir"); strings.Contains(lower, ":") || filepath.Dir(lower) != filepath.Join(w.dir, "images", "views") {
		t.Errorf("the container lies on %q", lower)
	}
	w.remove("container")
	for _, name := range slices.Backward(chain) {
		w.remove(name)
	}
	w.wantUsers(0)
}

// containerd finds a remote snapshot by exactly this filter.
func TestRemoteIsFoundByItsLabel(t *testing.T) {
	w := newWorld(t)
	chain := chainOf(w.three())
	w.pull(w.three(), nil)
	for i, target := range chain {
		parent := ""
		if i > 0 {
			parent = chain[i-1]
		}
		filter := fmt.Sprintf(`labels."containerd.io/snapshot.ref"==%s,parent==%q`, target, parent)
		if names := w.list(filter); !slices.Equal(names, []string{target}) {
			t.Errorf("%s finds %q", filter, names)
		}
	}
}

func TestReference(t *testing.T) {
	manifest := "sha256:" + strings.Repeat("a", 64)
	for name, c := range map[string]struct {
		labels map[string]string
		want   string
	}{
		"tag":           {map[string]string{labelImage: "r.io/a:1"}, "r.io/a:1"},
		"with manifest": {map[string]string{labelImage: "r.io/a:1", "containerd.io/snapshot/cri.manifest-digest": manifest}, "r.io/a:1@" + manifest},
		"of an index":   {map[string]string{labelImage: "r.io/a@sha256:" + strings.Repeat("b", 64), "containerd.io/snapshot/cri.manifest-digest": manifest}, "r.io/a@" + manifest},
		"bad manifest":  {map[string]string{labelImage: "r.io/a:1", "containerd.io/snapshot/cri.manifest-digest": "md5:1"}, "r.io/a:1"},
		"stargz":        {map[string]string{"containerd.io/snapshot/remote/stargz.reference": "r.io/a:1"}, "r.io/a:1"},
		"list cut short": {map[string]string{labelImage: "r.io/a:1", "containerd.io/snapshot/cri.image-layers": "sha256:" + strings.Repeat("c", 60)},
			"r.io/a:1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			labels := maps.Clone(c.labels)
			labels[labelTarget] = chainOf(w.images.Add(c.want, imagestest.Layer{"a": name}))[0]
			_, err := w.prepare("key", "", labels)
			wantCode(t, "preparing", err, codes.AlreadyExists)
			if opens := w.images.Opens(); !slices.Equal(opens, []string{c.want}) {
				t.Errorf("opened %q, want %q", opens, c.want)
			}
		})
	}
}

// What is not lazy is unpacked, and its reason is told.
func TestReasons(t *testing.T) {
	other := map[string]string{labelImage: "no/such:image"}
	for class, c := range map[string]struct {
		labels map[string]string
		prep   func(w *world)
	}{
		snapshotter.ReasonUnlabelled: {labels: map[string]string{labelImage: ""}},
		snapshotter.ReasonOpen:       {labels: other},
		snapshotter.ReasonMismatch: {labels: other, prep: func(w *world) {
			w.images.Add("no/such:image", imagestest.Layer{"other": "layer"})
		}},
	} {
		t.Run(class, func(t *testing.T) {
			w := newWorld(t)
			if c.prep != nil {
				c.prep(w)
			}
			image := w.three()
			if unpacked := w.pull(image, c.labels); !slices.Equal(unpacked, chainOf(image)) {
				t.Fatalf("unpacked: %q", unpacked)
			}
			w.wantReasons(class, class, class)
			w.restart()
			w.wantReasons(class, class, class)
			w.wantUsers(0)
		})
	}
}

// wantReasons compares the classes of all layers, "" for a lazy one.
func (w *world) wantReasons(want ...string) {
	w.t.Helper()
	layers, err := w.s.Status()
	if err != nil {
		w.t.Fatal(err)
	}
	var got []string
	for _, l := range layers {
		got = append(got, l.Class)
		if l.Lazy == (l.Class != "") || l.Lazy == (l.Reason != "") || l.Chain == "" {
			w.t.Errorf("layer %+v", l)
		}
	}
	if !slices.Equal(got, want) {
		w.t.Errorf("reasons %q, want %q", got, want)
	}
}

// An image that cannot be held is unpacked from its first layer on.
func TestHoldFails(t *testing.T) {
	w := newWorld(t)
	w.images.OnHold = func(context.Context, int) error { return errors.New("no room") }
	if unpacked := w.pull(w.three(), nil); len(unpacked) != 3 {
		t.Errorf("unpacked: %q", unpacked)
	}
	w.wantReasons(snapshotter.ReasonHold, snapshotter.ReasonHold, snapshotter.ReasonHold)
	w.wantUsers(0)
}

// If its top cannot be held in the end, lazy layers lie below an unpacked top;
// what is made on those holds what they show.
func TestHoldOfTheTopFails(t *testing.T) {
	w := newWorld(t)
	image := w.three()
	holds := 0
	w.images.OnHold = func(_ context.Context, depth int) error {
		if holds++; depth == 3 && holds > 1 {
			return errors.New("no room")
		}
		return nil
	}
	chain := chainOf(image)
	if unpacked := w.pull(image, nil); !slices.Equal(unpacked, chain[2:]) {
		t.Errorf("unpacked: %q", unpacked)
	}
	w.wantReasons("", "", snapshotter.ReasonHold)
	if users := w.images.Users(); len(users) != 1 {
		t.Errorf("held for %q, want the middle", users)
	}
	if bytes, _ := w.usage(chain[1]); bytes != 2000 {
		t.Errorf("the middle takes %d bytes", bytes)
	}
	w.remove(chain[2])
	w.wantUsers(0)
	bytes, _ := w.usage(chain[1])
	if bytes != 0 {
		t.Errorf("the middle takes %d bytes, with nothing on it", bytes)
	}
}

// A layer that another image shares is lazy, but the rest of that image is not:
// the pull goes on if the view of what is shared is there, and fails cleanly if not.
func TestOrdinaryOnIntermediate(t *testing.T) {
	w := newWorld(t)
	chain := chainOf(w.three())
	w.pull(w.three(), nil)
	w.images.OnHold = func(context.Context, int) error { return errors.New("the peer is away") }
	_, err := w.prepare("on it", chain[0], nil)
	wantCode(t, "without its view", err, codes.Unavailable)
	if slices.Contains(w.list(), "on it") {
		t.Error("the key of what failed is there")
	}
	w.images.OnHold = nil
	first := w.must("on it", chain[0], nil)
	if _, err := w.client.View(t.Context(), &api.ViewSnapshotRequest{Key: "view", Parent: chain[0]}); err != nil {
		t.Fatal(err)
	}
	w.wantUsers(2)
	again, err := w.client.Mounts(t.Context(), &api.MountsRequest{Key: "on it"})
	if err != nil || option(t, again.Mounts, "lowerdir") != option(t, first, "lowerdir") {
		t.Errorf("mounts again: %v, %v", again, err)
	}
	w.remove("on it")
	w.wantUsers(2)
	w.remove("view")
	w.wantUsers(1)
}

// The target may be there with another parent, which another namespace of
// containerd unpacked.
func TestSameLayerOnAnotherParent(t *testing.T) {
	w := newWorld(t)
	image := w.three()
	chain := chainOf(image)
	w.must("extract", "", nil)
	w.commit("other/7/"+chain[0], "extract", nil)
	labels := func(i int) map[string]string {
		return map[string]string{labelTarget: chain[i], labelImage: image.Reference}
	}
	_, err := w.prepare("a", "other/7/"+chain[0], labels(1))
	wantCode(t, "on an unpacked layer", err, codes.AlreadyExists)
	w.pull(image, nil)
	for _, parent := range []string{chain[0], "other/7/" + chain[0]} {
		if names := w.list(`labels."containerd.io/snapshot.ref"==` + chain[1] + `,parent=="` + parent + `"`); len(names) != 1 {
			t.Errorf("on %s: %q", parent, names)
		}
		_, err := w.prepare("again", parent, labels(1))
		wantCode(t, "again", err, codes.AlreadyExists)
	}
	_, err = w.prepare("wrong parent", chain[2], labels(1))
	wantCode(t, "on a layer that is not below it", err, codes.OK)
}

func TestPullsAtOnce(t *testing.T) {
	w := newWorld(t)
	target := chainOf(w.three())[0]
	labels := map[string]string{labelTarget: target, labelImage: w.three().Reference}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := w.prepare(fmt.Sprint("pull ", i), "", labels)
			wantCode(t, "preparing", err, codes.AlreadyExists)
		})
	}
	wg.Wait()
	if names := w.list(); !slices.Equal(names, []string{target}) {
		t.Errorf("snapshots: %q", names)
	}
	if opens := w.images.Opens(); len(opens) != 1 {
		t.Errorf("opened %d times", len(opens))
	}
}

// The layers of a pull wait once.
func TestPatienceEnds(t *testing.T) {
	w := newWorld(t)
	w.stop()
	w.patience = 10 * time.Millisecond
	w.start()
	w.images.OnOpen = func(ctx context.Context, _ string, _ func(done, total int64)) error {
		<-ctx.Done()
		return ctx.Err()
	}
	if unpacked := w.pull(w.three(), nil); len(unpacked) != 3 {
		t.Errorf("without progress, unpacked: %q", unpacked)
	}
	w.wantReasons(snapshotter.ReasonPatience, snapshotter.ReasonPatience, snapshotter.ReasonPatience)
	if opens := w.images.Opens(); len(opens) != 1 {
		t.Errorf("opened: %q", opens)
	}
	for name, want := range map[string]float64{"shoal_snapshotter_remote_layers_total": 0, "shoal_snapshotter_ordinary_layers_total patience": 3} {
		if got := w.counter(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// Nobody waits for ever for a view, as all of containerd may wait with him.
func TestHoldTakesTooLong(t *testing.T) {
	w := newWorld(t)
	w.stop()
	w.patience = 10 * time.Millisecond
	w.start()
	image := w.three()
	w.images.OnHold = func(ctx context.Context, _ int) error {
		<-ctx.Done()
		return ctx.Err()
	}
	if unpacked := w.pull(image, nil); len(unpacked) != 3 {
		t.Errorf("unpacked: %q", unpacked)
	}
}

// A client that leaves does not end the opening; closing does.
func TestLeavingAndClosing(t *testing.T) {
	w := newWorld(t)
	image := w.three()
	opening, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	w.images.OnOpen = func(ctx context.Context, _ string, _ func(done, total int64)) error {
		opening <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return ctx.Err()
	}
	labels := map[string]string{labelTarget: chainOf(image)[0], labelImage: image.Reference}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := w.client.Prepare(ctx, &api.PrepareSnapshotRequest{Key: "left", Labels: labels})
		left <- err
	}()
	<-opening
	cancel()
	wantCode(t, "who left", <-left, codes.Canceled)
	select {
	case <-ended:
		t.Error("the opening ended with its client")
	default:
	}
	stays := background(w, "stays", labels)
	waitUntil(func() bool { return len(w.list()) == 0 })
	w.stop()
	if code := status.Code(<-stays); code != codes.Unavailable && code != codes.Canceled {
		t.Errorf("who stayed: code %v", code)
	}
	<-ended
	w.images.OnOpen = nil
	w.start()
	if names := w.list(); len(names) > 0 {
		t.Errorf("snapshots: %q", names)
	}
}

func waitUntil(is func() bool) {
	for !is() {
		time.Sleep(time.Millisecond)
	}
}

// What is held for others is theirs.
func TestReconcile(t *testing.T) {
	w := newWorld(t)
	image := w.three()
	w.pull(image, nil)
	for _, user := range []string{"somebody else", "snapshot/999"} {
		if err := w.images.Hold(t.Context(), user, image, 1); err != nil {
			t.Fatal(err)
		}
	}
	w.restart()
	if users := w.images.Users(); len(users) != 2 || slices.Contains(users, "snapshot/999") {
		t.Errorf("held for %q", users)
	}
	for _, user := range w.images.Users() {
		if err := w.images.Release(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}
	w.restart()
	waitUntil(func() bool { return len(w.images.Users()) == 1 })
	w.must("container", chainOf(image)[2], nil)
}

// ctr prepares a layer under a key of its own, with no label at all.
func TestLayersThatNobodySpokeOfAreToldOf(t *testing.T) {
	w := newWorld(t)
	if _, err := w.client.Prepare(t.Context(), &api.PrepareSnapshotRequest{Key: "extract-1"}); err != nil {
		t.Fatal(err)
	}
	w.wantReasons()
	if _, err := w.client.Commit(t.Context(), &api.CommitSnapshotRequest{Key: "extract-1", Name: chainOf(w.three())[0]}); err != nil {
		t.Fatal(err)
	}
	w.wantReasons(snapshotter.ReasonUnlabelled)
}
