//go:build e2e && linux

package e2e

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/internal/containerd/transfer"
	"github.com/shoal-project/shoal/internal/cri"
	"github.com/shoal-project/shoal/internal/testimage"
)

// engine is a containerd that has our snapshotter, beside a lazy file system.
func (l *lazy) engine(t *testing.T) *containerd {
	t.Helper()
	return startContainerd(t, cri.Containerd{Proxies: map[string]string{lazyName: l.dir + "/run/snapshotter.sock"}}, l.peer.registry)
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
	if out := c.ctr(t, "run", "--rm", "--snapshotter", lazyName, name, "c1", "sh", "-c", inside); out != "it runs\n" {
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

// An image with a layer that nobody may make lazy is unpacked, and runs.
func TestPullIntoContainerdSaysWhyNotLazy(t *testing.T) {
	s := startSite(t, with("remote.max_entries", 1))
	l := s.node(t)
	c := l.engine(t)
	img := bootable(t, testimage.OCI, testimage.Gzip, "refused")
	name := s.push(t, "boot/refused:v1", img)
	layers := l.pull(t, c, name)
	every(t, layers, img, transfer.Unpacked)
	for _, one := range layers {
		if !strings.Contains(one.Reason, "entries") {
			t.Errorf("the reason of %s is %q", one.Digest, one.Reason)
		}
	}
	if out := c.ctr(t, "run", "--rm", "--snapshotter", lazyName, name, "c1", "sh", "-c", inside); out != "it runs\n" {
		t.Errorf("it says %q", out)
	}
	c.ctr(t, "images", "rm", "--sync", name)
}

// The snapshotter asks for an image without credentials, and the pull has some.
func TestPullIntoContainerdOfAPrivateImage(t *testing.T) {
	o := startOrigins(t)
	super := startSupernode(t, loopback(), distribution.ModeSupernode, o.reach())
	l := startLazy(t, startPeer(t, loopback(), super, o.reach()))
	c := l.engine(t)
	img := bootable(t, testimage.OCI, testimage.Gzip, "private")
	o.push(t, "boot/private:v1", img)
	name := o.private.Host() + "/boot/private:v1"
	if out, err := l.order(t, "pull", "-a", c.config.Socket(), "-n", groupName(), name); err == nil || !strings.Contains(err.Error(), "docker login") {
		t.Errorf("without credentials: %s %v", out, err)
	}
	l.login(t, o.private.Host())
	every(t, l.pull(t, c, name), img, transfer.Lazy)
	if out := c.ctr(t, "run", "--rm", "--snapshotter", lazyName, name, "c1", "sh", "-c", inside); out != "it runs\n" {
		t.Errorf("it says %q", out)
	}
	l.materialize(t, c, name)
	c.checkExport(t, name, img)
	c.ctr(t, "images", "rm", "--sync", name)
}

// login has commands of this test know the private registry's user, as docker
// login does.
func (l *lazy) login(t *testing.T, registry string) {
	t.Helper()
	t.Setenv("DOCKER_CONFIG", l.dir)
	writeFile(t, l.dir+"/config.json", fmt.Sprintf(`{"auths": {%q: {"username": %q, "password": %q}}}`, registry, userName, password))
}
