//go:build e2e && linux

package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/cri"
	"github.com/shoal-project/shoal/internal/lazyfs"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/treelist"
)

// podNamespace is where containerd keeps what was asked for over CRI.
const podNamespace = "k8s.io"

// machine is a node of a cluster that starts containers lazily.
type machine struct {
	lazy       *lazy
	containerd *containerd
}

// machine starts a node with containerd, whose pods use the pause image.
func (s *site) machine(t *testing.T, edits ...edit) *machine {
	t.Helper()
	return s.machineOf(t, startPeer(t, loopback(), s.super, s.reach), edits...)
}

func (s *site) machineOf(t *testing.T, p *peer, edits ...edit) *machine {
	t.Helper()
	l := startLazy(t, p, append([]edit{with("resume.enabled", true)}, edits...)...)
	m := &machine{lazy: l}
	m.endsLazy(t)
	config := cri.Containerd{
		Pause: s.pause(t), Snapshotter: lazyName,
		Proxies: map[string]string{lazyName: l.dir + "/run/snapshotter.sock"},
	}
	m.containerd = startContainerd(t, config, l.peer.registry, s.registry.Host())
	return m
}

// endsLazy has the lazy file system that runs now leave nothing at the test's end,
// although containerd has images of it on record, then.
func (m *machine) endsLazy(t testing.TB) {
	t.Helper()
	daemon := m.lazy.process
	t.Cleanup(func() {
		select {
		case <-daemon.exited:
		default:
			if _, err := m.lazy.order(t, "shutdown", "--native", "--force"); err != nil {
				t.Error(err)
			}
		}
	})
}

// startLazy starts the lazy file system again.
func (m *machine) startLazy(t testing.TB) {
	t.Helper()
	m.lazy.run(t)
	m.endsLazy(t)
}

// lazyName is what containerd calls the lazy file system's snapshotter.
const lazyName = "shoal"

// pause is the image of pods' first processes.
func (s *site) pause(t testing.TB) string {
	t.Helper()
	return s.push(t, "cluster/pause:v1", must(cri.Pause(program("pause")))(t))
}

// preheat has the supernode make an image ready to start lazily.
func (s *site) preheat(t testing.TB, name string) {
	t.Helper()
	command(t, nil, program("supernode"), "preheat", "--config", s.super.file(), "--wait", "--lazy", name)
}

// pod runs a pod until the test's or containerd's end.
func (c *containerd) pod(t testing.TB, name string) *cri.Pod {
	t.Helper()
	p := must(c.pods.RunPod(t.Context(), cri.PodConfig{
		Name: name, LogDir: filepath.Join(c.config.Dir, "pods", name), Cgroups: "/" + groupName(),
	}))(t)
	daemon := c.process
	t.Cleanup(func() {
		select {
		case <-daemon.exited:
		default:
			if err := p.Remove(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

// ends waits for a container's end and returns its exit code.
func ends(t testing.TB, c *cri.Container) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return must(c.Wait(ctx))(t)
}

// says runs a container of a pod to its end, which must be a good one, and
// returns what it printed.
func says(t testing.TB, pod *cri.Pod, config cri.ContainerConfig) string {
	t.Helper()
	c := must(pod.Start(t.Context(), config))(t)
	code := ends(t, c)
	if out := must(c.Output("stderr"))(t); code != 0 || out != "" {
		t.Errorf("%s of %s ended with %d: %s", config.Name, config.Image, code, out)
	}
	return must(c.Output("stdout"))(t)
}

// tree lists an image as a snapshotter shows it.
func (c *containerd) tree(t *testing.T, namespace, snapshotter string, img v1.Image) []treelist.Entry {
	t.Helper()
	dir := directory(t)
	how := command(t, nil, "ctr", "-a", c.config.Socket(), "-n", namespace, "snapshots", "--snapshotter", snapshotter,
		"view", "--target", dir, "seen", chainOf(t, img)) // which nothing refers to, so containerd removes it soon
	command(t, nil, "sh", "-c", how)
	defer command(t, nil, "umount", dir)
	return listing(t, dir)
}

// chainOf is the name of the snapshot that is all of an image.
func chainOf(t testing.TB, img v1.Image) string {
	t.Helper()
	chain := ""
	for _, id := range diffIDs(t, img) {
		if chain == "" {
			chain = id
		} else {
			chain = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(chain+" "+id)))
		}
	}
	return chain
}

// lacksLayers checks that containerd did not fetch an image's layers.
func (c *containerd) lacksLayers(t testing.TB, namespace string, img v1.Image) {
	t.Helper()
	held := command(t, nil, "ctr", "-a", c.config.Socket(), "-n", namespace, "content", "ls", "-q")
	for _, l := range must(img.Manifest())(t).Layers {
		if strings.Contains(held, l.Digest.String()) {
			t.Errorf("containerd has the layer %s", l.Digest)
		}
	}
}

// layered is an image that runs, with a large file in a layer on top.
func layered(t *testing.T, label string, content []byte) v1.Image {
	t.Helper()
	layers := must(bootable(t, testimage.OCI, testimage.Gzip, label).Layers())(t)
	large := testimage.Tar(testimage.Dir("data", 0o755), testimage.File("data/large", 0o644, content))
	layers = append(layers, must(testimage.NewLayer(testimage.Zstd, large))(t))
	return must(testimage.Assemble(testimage.OCI, testimage.Config{Labels: map[string]string{"test": label}}, layers...))(t)
}

func TestContainerdUnderstandsTheExamples(t *testing.T) {
	for file, want := range map[string][]string{
		"config.toml":      {`config_path = "/etc/containerd/certs.d"`},
		"snapshotter.toml": {`snapshotter = "shoal"`, "disable_snapshot_annotations = false", "[proxy_plugins.shoal]"},
	} {
		dump := command(t, nil, "containerd", "-c", "../../deploy/containerd/"+file, "config", "dump")
		for _, line := range want {
			if !strings.Contains(dump, line) {
				t.Errorf("of %s, containerd has no %s", file, line)
			}
		}
	}
}

func TestPodsStartLazily(t *testing.T) {
	s := startSite(t)
	content := noise(100, 48<<20)
	img := layered(t, "lazy", content)
	name := s.push(t, "pods/image:v1", img)
	m := s.machine(t, noFill())
	s.preheat(t, name)
	mark := must(s.registry.Mark(t.Context()))(t)
	id := must(m.containerd.pods.Pull(t.Context(), name))(t)
	if want := must(img.ConfigName())(t).String(); id != want {
		t.Errorf("CRI pulled %s, want %s", id, want)
	}
	pod := m.containerd.pod(t, "one")
	if out := says(t, pod, cri.ContainerConfig{Name: "checks", Image: name, Command: []string{"sh", "-c", inside}}); out != "it runs\n" {
		t.Errorf("it says %q", out)
	}
	c := must(pod.Start(t.Context(), cri.ContainerConfig{Name: "stays", Image: name, Command: []string{"busybox", "sleep", "3600"}}))(t)
	status := m.lazy.image(t, name)
	if status.State != lazyfs.StateLazy || status.Present > int64(len(content))/4 {
		t.Errorf("with a container running, it is %s and has %d of %d bytes", status.State, status.Present, status.Bytes)
	}
	m.containerd.lacksLayers(t, podNamespace, img)
	fetched := must(s.registry.Log(t.Context(), mark))(t)
	for _, l := range must(img.Manifest())(t).Layers {
		if n := fetched.Blobs(http.MethodGet, l.Digest.String()); n > 0 {
			t.Errorf("the registry was asked %d times for the layer %s", n, l.Digest)
		}
	}
	want := fmt.Sprintf("%x  /data/large\n", sha256.Sum256(content))
	if out := must(c.Exec(t.Context(), "busybox", "sha256sum", "/data/large"))(t); out != want {
		t.Errorf("the large file's digest is %q, want %q", out, want)
	}
}

func TestPodsRunEagerlyBesideLazily(t *testing.T) {
	s := startSite(t)
	img := layered(t, "both", noise(101, 9<<20))
	name := s.push(t, "pods/image:v1", img)
	m := s.machine(t)
	eager := startContainerd(t, cri.Containerd{Pause: s.pause(t)}, m.lazy.peer.registry, s.registry.Host())
	began := time.Now().Truncate(time.Second)
	trees := map[string][]treelist.Entry{}
	for snapshotter, c := range map[string]*containerd{cri.Overlay: eager, lazyName: m.containerd} {
		must(c.pods.Pull(t.Context(), name))(t)
		if out := says(t, c.pod(t, "one"), cri.ContainerConfig{Name: "c", Image: name, Command: []string{"sh", "-c", inside}}); out != "it runs\n" {
			t.Errorf("with %s it says %q", snapshotter, out)
		}
		trees[snapshotter] = c.tree(t, podNamespace, snapshotter, img)
	}
	same(t, "overlayfs", trees[cri.Overlay], trees[lazyName], treelist.Ignore{Unpacked: began, DirNlink: true, Nlink: true})
	for _, l := range m.lazy.status(t).Layers {
		if !l.Lazy {
			t.Errorf("%s is not lazy: %s", l.Snapshot, l.Reason)
		}
	}
}
