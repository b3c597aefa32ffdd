//go:build e2e && linux

package e2e

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/containerd/transfer"
	"github.com/shoal-project/shoal/internal/cri"
	"github.com/shoal-project/shoal/internal/testimage"
)

// engine is a containerd that has our snapshotter, beside a lazy file system.
func (l *lazy) engine(t *testing.T) *containerd {
	t.Helper()
	return startContainerd(t, cri.Containerd{Proxies: map[string]string{"shoal": l.dir + "/run/snapshotter.sock"}}, l.peer.registry)
}

// pull pulls an image into containerd's namespace of the test, and returns what
// became of its layers, the lowest first.
func (l *lazy) pull(t testing.TB, c *containerd, image string, flags ...string) (layers []transfer.Layer) {
	t.Helper()
	out, err := l.order(t, append([]string{"pull", "--json", "-a", c.config.Socket(), "-n", groupName(), image}, flags...)...)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, l.tail(), c.tail())
	}
	complete := false
	for lines := json.NewDecoder(strings.NewReader(out)); ; {
		var n transfer.News
		if err := lines.Decode(&n); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("pull --json said %s: %v", out, err)
		}
		if n.Layer != nil {
			layers = append(layers, *n.Layer)
		}
		complete = n.Complete
	}
	if !complete {
		t.Errorf("the pull says nothing of its end: %s", out)
	}
	return layers
}

func (l *lazy) materialize(t testing.TB, c *containerd, image string, flags ...string) string {
	t.Helper()
	return must(l.order(t, append([]string{"materialize", "-a", c.config.Socket(), "-n", groupName(), image}, flags...)...))(t)
}

// every tells whether all layers of an image ended in one state.
func every(t testing.TB, layers []transfer.Layer, img v1.Image, want string) {
	t.Helper()
	if n := len(must(img.Layers())(t)); len(layers) != n {
		t.Errorf("it told of %d layers, want %d", len(layers), n)
	}
	for i, l := range layers {
		if l.State != want {
			t.Errorf("layer %d is %s (%s), want %s", i, l.State, l.Reason, want)
		}
	}
}

// blobs are those of an image that containerd's content store has.
func (c *containerd) blobs(t testing.TB, img v1.Image) (n int) {
	t.Helper()
	listed := c.ctr(t, "content", "ls", "-q")
	for _, l := range must(img.Layers())(t) {
		if strings.Contains(listed, must(l.Digest())(t).String()) {
			n++
		}
	}
	return n
}

// checkExport compares an export with the image.
func (c *containerd) checkExport(t testing.TB, name string, img v1.Image) {
	t.Helper()
	file := filepath.Join(c.config.Dir, "export.tar")
	c.ctr(t, "images", "export", file, name)
	f := must(os.Open(file))(t)
	defer f.Close()
	names := map[string]bool{}
	entries := tar.NewReader(f)
	h, err := entries.Next()
	for ; err == nil; h, err = entries.Next() {
		names[h.Name] = true
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	for _, l := range must(img.Layers())(t) {
		if d := must(l.Digest())(t); !names["blobs/sha256/"+d.Hex] {
			t.Errorf("the export of %s lacks layer %s", name, d)
		}
	}
}

func TestPullIntoContainerdUnpacks(t *testing.T) {
	s := startSite(t)
	l := s.node(t)
	c := l.engine(t)
	img := bootable(t, testimage.OCI, testimage.Gzip, "unpacked")
	name := s.push(t, "boot/eager:v1", img)
	every(t, l.pull(t, c, name, "--snapshotter", "overlayfs"), img, transfer.Unpacked)
	every(t, l.pull(t, c, name, "--snapshotter", "overlayfs"), img, transfer.Present)
	if out := c.ctr(t, "run", "--rm", name, "c1", "sh", "-c", inside); out != "it runs\n" {
		t.Errorf("it says %q", out)
	}
	c.checkExport(t, name, img)
	if out := l.materialize(t, c, name); !strings.Contains(out, "nothing was missing") {
		t.Errorf("materialize says %q", out)
	}
}

func TestPullIntoContainerdIsLazy(t *testing.T) {
	s := startSite(t)
	l := s.node(t)
	c := l.engine(t)
	img := bootable(t, testimage.OCI, testimage.Gzip, "lazy")
	other := must(testimage.Assemble(testimage.OCI, testimage.Config{Architecture: "s390x"},
		must(testimage.NewLayer(testimage.Gzip, testimage.Tar(testimage.OddEntries()...)))(t)))(t)
	name := s.registry.Host() + "/boot/lazy:v1"
	if err := testimage.Push(t.Context(), name, must(testimage.Index(testimage.OCI, img, other))(t)); err != nil {
		t.Fatal(err)
	}
	every(t, l.pull(t, c, name), img, transfer.Lazy)
	every(t, l.pull(t, c, name), img, transfer.Present)
	if n := c.blobs(t, img); n != 0 {
		t.Errorf("%d layers' blobs are in containerd's content store", n)
	}
	if out := c.ctr(t, "run", "--rm", "--snapshotter", "shoal", name, "c1", "sh", "-c", inside); out != "it runs\n" {
		t.Errorf("it says %q", out)
	}
	if _, err := c.tryCtr(t, "images", "export", filepath.Join(c.config.Dir, "none.tar"), name); err == nil {
		t.Error("containerd exports what it does not have")
	}
	l.materialize(t, c, name)
	if n, all := c.blobs(t, img), len(must(img.Layers())(t)); n != all {
		t.Errorf("after materialize %d of %d blobs are there", n, all)
	}
	c.checkExport(t, name, img)
	c.ctr(t, "images", "push", "--plain-http", "--platform", "linux/"+runtime.GOARCH, s.registry.Host()+"/copy/lazy:v1", name)
	c.ctr(t, "images", "rm", "--sync", name)
}
