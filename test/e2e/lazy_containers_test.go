//go:build e2e && linux

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/internal/containerd/transfer"
	"github.com/shoal-project/shoal/internal/cri"
	"github.com/shoal-project/shoal/internal/testimage"
)

// run starts a container of a lazily pulled image with containerd's own client.
func (m *machine) run(t testing.TB, id, image, script string, flags ...string) {
	t.Helper()
	args := append([]string{"run", "-d", "--snapshotter", lazyName}, flags...)
	m.containerd.ctr(t, append(args, image, id, "sh", "-c", script)...)
	t.Cleanup(func() {
		if _, err := m.containerd.tryCtr(t, "tasks", "rm", "-f", id); err != nil && !strings.Contains(err.Error(), "not found") {
			t.Error(err)
		}
		if _, err := m.containerd.tryCtr(t, "containers", "rm", id); err != nil {
			t.Error(err)
		}
	})
}

// in runs one more program in a container.
func (m *machine) in(t testing.TB, id string, command ...string) string {
	t.Helper()
	return m.containerd.ctr(t, append([]string{"tasks", "exec", "--exec-id", "x", id}, command...)...)
}

// awaitIn waits until a program in a container ends well.
func (m *machine) awaitIn(t testing.TB, id string, command ...string) {
	t.Helper()
	m.containerd.await(t, fmt.Sprint(command), func(context.Context) error {
		_, err := m.containerd.tryCtr(t, append([]string{"tasks", "exec", "--exec-id", "x", id}, command...)...)
		return err
	})
}

// writes is a container's work: it adds to a file, removes one, and stays.
const writes = `echo again >> /tmp/log; rm -f /etc/passwd; : > /tmp/ready; exec busybox sleep 3600`

func TestContainerWritesIsStoppedAndCommitted(t *testing.T) {
	s := startSite(t)
	m := s.machine(t)
	img := layered(t, "writes", noise(110, 5<<20))
	name := s.push(t, "writes/image:v1", img)
	every(t, m.lazy.pull(t, m.containerd, name), img, transfer.Lazy)
	m.run(t, "w", name, writes)
	m.awaitIn(t, "w", "busybox", "test", "-e", "/tmp/ready")
	m.containerd.ctr(t, "tasks", "rm", "-f", "w")
	m.lazy.stop(t)
	m.startLazy(t)
	m.containerd.ctr(t, "tasks", "start", "-d", "w")
	m.awaitIn(t, "w", "busybox", "grep", "-c", "again", "/tmp/log")
	if out := m.in(t, "w", "busybox", "cat", "/tmp/log"); out != "again\nagain\n" {
		t.Errorf("what it wrote reads %q", out)
	}
	m.containerd.ctr(t, "tasks", "rm", "-f", "w")
	changed := m.containerd.ctr(t, "snapshots", "--snapshotter", lazyName, "diff", "w")
	committed := commit(t, img, []byte(changed))
	second := s.push(t, "writes/image:v2", committed)
	layers := m.lazy.pull(t, m.containerd, second)
	if top := layers[len(layers)-1]; top.State != transfer.Lazy {
		t.Errorf("what was committed is %s: %s", top.State, top.Reason)
	}
	out := m.containerd.ctr(t, "run", "--rm", "--snapshotter", lazyName, second, "second", "sh", "-c",
		`busybox cat /tmp/log; [ -e /etc/passwd ] || echo removed`)
	if out != "again\nagain\nremoved\n" {
		t.Errorf("of what was committed, it says %q", out)
	}
}

// commit is an image with what a container changed on top, as engines make one.
func commit(t testing.TB, img v1.Image, changed []byte) v1.Image {
	t.Helper()
	layer := must(tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(changed)), nil }))(t)
	return must(testimage.Assemble(testimage.OCI, testimage.Config{}, append(must(img.Layers())(t), layer)...))(t)
}

// family are images that share the layers of the first.
func family(t *testing.T) map[string]v1.Image {
	t.Helper()
	base := must(bootable(t, testimage.OCI, testimage.Gzip, "family").Layers())(t)
	made := map[string]v1.Image{}
	for name, top := range map[string][]testimage.Entry{
		"base":  nil,
		"one":   {testimage.File("etc/which", 0o644, []byte("one"))},
		"two":   {testimage.File("etc/which", 0o644, []byte("two")), testimage.Whiteout("etc/passwd")},
		"eager": {testimage.File("etc/which", 0o644, []byte("eager")), testimage.File("../outside", 0o644, nil)}, // not to be mapped
	} {
		layers := base
		if top != nil {
			layers = append(layers[:len(layers):len(layers)], must(testimage.NewLayer(testimage.Gzip, testimage.Tar(top...)))(t))
		}
		made[name] = must(testimage.Assemble(testimage.OCI, testimage.Config{}, layers...))(t)
	}
	made["other"] = layered(t, "other", noise(111, 20<<20))
	return made
}

func TestTwentyContainersOfFiveImages(t *testing.T) {
	s := startSite(t)
	m := s.machine(t)
	images := family(t)
	names := map[string]string{}
	for name, img := range images {
		names[name] = s.push(t, "family/"+name+":v1", img)
	}
	must(m.containerd.pods.Pull(t.Context(), names["one"]))(t) // the base of which is pulled after it
	group, ctx := errgroup.WithContext(t.Context())
	for _, name := range names {
		group.Go(func() error { _, err := m.containerd.pods.Pull(ctx, name); return err })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	m.checkFamily(t, images["eager"])
	group, ctx = errgroup.WithContext(t.Context())
	for i := range 4 {
		pod := m.containerd.pod(t, fmt.Sprintf("pod%d", i))
		for which, name := range names {
			group.Go(func() error { return runsAs(ctx, pod, which, name) })
		}
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// checkFamily checks that all layers are lazy but that which cannot be.
func (m *machine) checkFamily(t testing.TB, eager v1.Image) {
	t.Helper()
	ordinary := 0
	for _, l := range m.lazy.status(t).Layers {
		if l.Lazy {
			continue
		}
		ordinary++
		if l.Chain != chainOf(t, eager) || l.Class != snapshotter.ReasonOpen || l.Reason == "" {
			t.Errorf("not lazy: %+v", l)
		}
	}
	if ordinary != 1 {
		t.Errorf("%d layers are not lazy, want the one that cannot be", ordinary)
	}
}

// runsAs runs a container of one of the family.
func runsAs(ctx context.Context, pod *cri.Pod, which, image string) error {
	c, err := pod.Start(ctx, cri.ContainerConfig{Name: which, Image: image, Command: []string{"sh", "-c", inside + "; busybox cat /etc/which || true"}})
	if err != nil {
		return err
	}
	code, err := c.Wait(ctx)
	if err != nil {
		return err
	}
	out, err := c.Output("stdout")
	want := "it runs\n" + which + "\n"
	if which == "base" || which == "other" {
		want = "it runs\n"
	}
	if code != 0 || out != want {
		err = errors.Join(err, fmt.Errorf("a container of %s ended with %d and says %q", image, code, out))
	}
	return err
}

// stored is whether the node's peer has the file of an object.
func (m *machine) stored(content []byte) bool {
	name := fmt.Sprintf("%x", sha256.Sum256(content))
	_, err := os.Stat(filepath.Join(m.lazy.peer.dir, "data/store", name[:2], name))
	return err == nil
}

// forgets waits until the node's peer has not got an object any more.
func (m *machine) forgets(t testing.TB, content []byte) {
	t.Helper()
	m.lazy.await(t, "the object's end", func(context.Context) error {
		if m.stored(content) {
			return errors.New("the peer has it")
		}
		return nil
	})
}

func TestImageRemovalFreesTheDisk(t *testing.T) {
	s := startSite(t)
	m := s.machineOf(t, startPeer(t, loopback(), s.super, s.reach, with("download.linger", "1s"))) // how long an object is in use after its last reader
	shared, first, second := noise(120, 6<<20), noise(121, 7<<20), noise(122, 8<<20)
	images := map[string]v1.Image{}
	for tag, own := range map[string][]byte{"first": first, "second": second} {
		layers := must(layered(t, "removal", shared).Layers())(t)
		layers = append(layers, must(testimage.NewLayer(testimage.Gzip, testimage.Tar(testimage.File("own", 0o644, own))))(t))
		images[tag] = must(testimage.Assemble(testimage.OCI, testimage.Config{}, layers...))(t)
	}
	name1, name2 := s.push(t, "removal/image:first", images["first"]), s.push(t, "removal/image:second", images["second"])
	must(m.containerd.pods.Pull(t.Context(), name1))(t)
	m.lazy.pull(t, m.containerd, name2)
	m.lazy.untilComplete(t, name1)
	m.lazy.untilComplete(t, name2)
	for i, content := range [][]byte{shared, first, second} {
		if !m.stored(content) {
			t.Errorf("object %d is not in the store", i)
		}
	}
	if err := m.containerd.pods.Remove(t.Context(), name1); err != nil {
		t.Error(err)
	}
	m.forgets(t, first)
	s.super.kill()
	out := m.containerd.ctr(t, "run", "--rm", "--snapshotter", lazyName, name2, "c", "sh", "-c", "busybox cat /data/large /own | busybox sha256sum")
	if want := fmt.Sprintf("%x  -\n", sha256.Sum256(append(shared, second...))); out != want {
		t.Errorf("without the first image the second reads as %s, want %s", out, want)
	}
	m.containerd.ctr(t, "images", "rm", "--sync", name2)
	m.forgets(t, second)
	m.forgets(t, shared)
	m.leavesNothing(t)
}

// leavesNothing ends the lazy file system, which has no user any more, and looks
// for what is left of it.
func (m *machine) leavesNothing(t *testing.T) {
	t.Helper()
	for _, image := range must(m.containerd.pods.Images(t.Context()))(t) {
		if err := m.containerd.pods.Remove(t.Context(), image); err != nil {
			t.Error(err)
		}
	}
	nothingIn(t, m.lazy.dir+"/data/snapshots/snapshots")
	if left := m.lazy.status(t); len(left.Images)+len(left.Layers) > 0 {
		t.Errorf("left: %+v, %+v", left.Images, left.Layers)
	}
	if _, err := m.lazy.order(t, "shutdown"); err != nil {
		t.Error(err)
	}
	<-m.lazy.exited
	for _, file := range []string{"/proc/self/mountinfo", "/proc/net/unix"} {
		if left := linesWith(file, m.lazy.dir, "left"); len(left) > 0 {
			t.Errorf("%s", strings.Join(left, "\n"))
		}
	}
	for _, line := range leakedProcesses(m.lazy.dir) {
		t.Error(line)
	}
}
