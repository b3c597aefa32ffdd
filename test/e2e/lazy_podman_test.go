//go:build e2e && linux

package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/treelist"
)

const storageConf = `[storage]
driver = "overlay"
graphroot = "%[1]s/root"
runroot = "%[1]s/runroot"
[storage.options]
additionallayerstores = [%[2]s]
`

// newLayeredPodman takes its layers from a node's layer store; without a node it
// pulls them as ever.
func newLayeredPodman(t *testing.T, registry string, node *lazy) *layeredPodman {
	t.Helper()
	p := &layeredPodman{podman: podman{dir: directory(t)}, node: node}
	writeFile(t, p.dir+"/registries.conf", fmt.Sprintf("unqualified-search-registries = []\n[[registry]]\nlocation = %q\ninsecure = true\n", registry))
	writeFile(t, p.dir+"/policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`)
	store := ""
	if node != nil {
		store = fmt.Sprintf("%q", node.dir+"/run/layers:ref")
	}
	writeFile(t, p.dir+"/storage.conf", fmt.Sprintf(storageConf, p.dir, store))
	p.env = []string{
		"CONTAINERS_REGISTRIES_CONF=" + p.dir + "/registries.conf", "CONTAINERS_STORAGE_CONF=" + p.dir + "/storage.conf",
		"HOME=" + p.dir, "XDG_RUNTIME_DIR=" + p.dir + "/run",
	}
	t.Cleanup(func() { unmountUnder(t, p.dir); removeGroups() })
	return p
}

// layeredPodman is a podman with a storage.conf of its own.
type layeredPodman struct {
	podman
	node *lazy
}

func (p *layeredPodman) run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := p.try(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (p *layeredPodman) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	base := []string{"podman", "--tmpdir", p.dir + "/tmp", "--cgroup-manager=cgroupfs", "--runtime", "runc", "--events-backend=none"}
	return try(t, p.env, append(base, args...)...)
}

// container gives the arguments to run a program in a container of an image.
func container(how []string, image string, program ...string) []string {
	args := []string{"run", "--network", "none", "--cgroup-parent", "/" + groupName(), "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"}
	return append(append(append(args, how...), image), program...)
}

// borrowed lists the layers that the storage has from a layer store.
func (p *layeredPodman) borrowed(t *testing.T) []string {
	t.Helper()
	return must(filepath.Glob(p.dir + "/root/overlay/*/additionallayer"))(t)
}

// size is what podman says of an image's.
func (p *layeredPodman) size(t *testing.T, name string) string {
	t.Helper()
	return p.run(t, "image", "inspect", "--format", "{{.Size}}", name)
}

func TestPodmanTakesLayersLazily(t *testing.T) {
	s := startSite(t)
	node := s.node(t, with("layer_store.idle", "1s"))
	name := s.push(t, "boot/image:v1", bootable(t, testimage.OCI, testimage.Gzip, "layers"))
	lazily, eagerly := newLayeredPodman(t, s.registry.Host(), node), newLayeredPodman(t, s.registry.Host(), nil)
	began := time.Now().Truncate(time.Second)
	lazily.run(t, "pull", "-q", name)
	eagerly.run(t, "pull", "-q", name)
	if got := lazily.borrowed(t); len(got) != 2 {
		t.Fatalf("podman has %d layers of the store, not 2\n%s", len(got), node.tail())
	}
	if out := lazily.run(t, container([]string{"--rm"}, name, "/bin/busybox", "sh", "-c", change)...); out != "it runs" {
		t.Errorf("it says %q", out)
	}
	t.Run("files", func(t *testing.T) {
		want := listing(t, eagerly.run(t, "image", "mount", name))
		got := listing(t, lazily.run(t, "image", "mount", name))
		same(t, "an eager pull", want, got, treelist.Ignore{
			DirNlink: true, Nlink: true, Root: true, Unpacked: began,
			Xattrs: func(name string) bool { return name == "user.empty" }, // podman drops attributes without a value
		})
		for _, p := range []*layeredPodman{lazily, eagerly} {
			p.run(t, "image", "unmount", name)
		}
	})
	t.Run("containers", func(t *testing.T) { testContainers(t, lazily, name) })
	if want, got := eagerly.size(t, name), lazily.size(t, name); got != want {
		t.Errorf("podman counts %s bytes, and %s of an eager pull", got, want)
	}
	t.Run("removal", lazily.clear)
}

// A container runs, and reads what it reads, before the rest is on the node.
func TestPodmanStartsBeforeItsLayersAreHere(t *testing.T) {
	s := startSite(t)
	node := s.node(t, noFill(), with("layer_store.idle", "1s"))
	base, large := bootable(t, testimage.OCI, testimage.Zstd, "large"), must(testimage.Random(7, 1, 32<<20))(t)
	name := s.push(t, "boot/large:v1", grown(t, base, large))
	p := newLayeredPodman(t, s.registry.Host(), node)
	p.run(t, "pull", "-q", name)
	if got := len(p.borrowed(t)); got != 3 {
		t.Fatalf("podman has %d layers of the store, not 3\n%s", got, node.tail())
	}
	if out := p.run(t, container([]string{"--rm"}, name, "/bin/busybox", "sh", "-c", inside)...); out != "it runs" {
		t.Errorf("it says %q", out)
	}
	if stored := node.peer.stored(t); stored > 8<<20 {
		t.Errorf("the node has %d bytes of an image of 32 MiB by then", stored)
	}
	p.clear(t)
}

// clear removes all containers and images, and waits until the node holds nothing.
func (p *layeredPodman) clear(t *testing.T) {
	t.Helper()
	p.run(t, "rm", "-a", "-f", "-t", "0")
	p.run(t, "rmi", "-a", "-f")
	p.awaitNoHoldings(t)
}

func (p *layeredPodman) awaitNoHoldings(t *testing.T) {
	t.Helper()
	p.node.await(t, "an end of all holdings", func(context.Context) error {
		for _, dir := range []string{"/data/layers", "/data/images"} {
			if left, err := os.ReadDir(p.node.dir + dir); err != nil || len(left) > 0 {
				return fmt.Errorf("%s has %d records: %w", dir, len(left), err)
			}
		}
		return nil
	})
}

// Who deletes podman's storage has not told anybody of the layers in it.
func TestPodmanStorageIsDeleted(t *testing.T) {
	s := startSite(t)
	node := s.node(t, with("layer_store.idle", "1s"), with("layer_store.recount", "1s"))
	name := s.push(t, "boot/image:v1", bootable(t, testimage.OCI, testimage.Gzip, "deleted"))
	p := newLayeredPodman(t, s.registry.Host(), node)
	p.run(t, "pull", "-q", name)
	for _, file := range must(filepath.Glob(node.dir + "/data/layers/*.json"))(t) {
		if text := string(must(os.ReadFile(file))(t)); !strings.Contains(text, fmt.Sprintf(`"storages":[%q]`, p.dir+"/root")) || strings.Contains(text, "strange") {
			t.Errorf("the store did not find out the storage: %s", text)
		}
	}
	time.Sleep(3 * time.Second) // long enough for layers to go that nothing refers to
	if out := p.run(t, container([]string{"--rm"}, name, "/bin/busybox", "sh", "-c", inside)...); out != "it runs" {
		t.Errorf("it says %q", out)
	}
	unmountUnder(t, p.dir)
	if err := os.RemoveAll(p.dir + "/root"); err != nil {
		t.Fatal(err)
	}
	p.awaitNoHoldings(t)
}

// grown is an image with the layers of another on top.
func grown(t *testing.T, base, more v1.Image) v1.Image {
	t.Helper()
	all := append(must(base.Layers())(t), must(more.Layers())(t)...)
	return must(testimage.Assemble(testimage.OCI, testimage.Config{}, all...))(t)
}

// stored is what the peer's store takes on the disk.
func (p *peer) stored(t *testing.T) (total int64) {
	t.Helper()
	err := filepath.WalkDir(p.dir+"/data/store", func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil {
			total += st.Blocks * 512
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// A daemon that was killed goes on where it was: containers start again, and what
// is removed goes. While it is away, or its peer, podman pulls layers as ever.
func TestPodmanAfterTheDaemonWasKilled(t *testing.T) {
	s := startSite(t)
	node := s.node(t, with("layer_store.idle", "1s"))
	name := s.push(t, "boot/image:v1", bootable(t, testimage.OCI, testimage.Gzip, "killed"))
	p := newLayeredPodman(t, s.registry.Host(), node)
	p.run(t, container([]string{"--name", "kept"}, name, "/bin/busybox", "sh", "-c", inside)...)
	borrowed := len(p.borrowed(t))
	node.kill()
	other := s.push(t, "boot/other:v1", bootable(t, testimage.OCI, testimage.Zstd, "away"))
	if out, err := p.try(t, "pull", "-q", other); err != nil || len(p.borrowed(t)) != borrowed {
		t.Errorf("without the daemon podman says %v, %s, and has %d layers of the store", err, out, len(p.borrowed(t)))
	}
	node.run(t)
	if out := p.run(t, "start", "-a", "kept"); out != "it runs" {
		t.Errorf("started again it says %q", out)
	}
	node.peer.stop(t)
	third := s.push(t, "boot/third:v1", bootable(t, testimage.Docker, testimage.Gzip, "no peer"))
	if out, err := p.try(t, "pull", "-q", third); err != nil || len(p.borrowed(t)) != borrowed {
		t.Errorf("without the peer podman says %v, %s, and has %d layers of the store", err, out, len(p.borrowed(t)))
	}
	node.peer.run(t)
	p.clear(t)
}

// testContainers has two containers of an image write, and makes an image of one.
func testContainers(t *testing.T, p *layeredPodman, name string) {
	for _, c := range []string{"one", "two"} {
		p.run(t, container([]string{"-d", "--name", c}, name, "/bin/busybox", "sleep", "600")...)
		p.run(t, "exec", c, "/bin/busybox", "sh", "-c", "echo "+c+" > /etc/who && rm /etc/passwd")
	}
	for _, c := range []string{"one", "two"} {
		if out := p.run(t, "exec", c, "/bin/busybox", "cat", "/etc/who"); out != c {
			t.Errorf("container %s reads %q", c, out)
		}
	}
	p.run(t, "commit", "-q", "one", "localhost/made:1")
	out := p.run(t, container([]string{"--rm"}, "localhost/made:1", "/bin/busybox", "sh", "-c", "cat /etc/who; ls /etc")...)
	if !strings.HasPrefix(out, "one\n") || strings.Contains(out, "passwd") || strings.Contains(out, "removed") {
		t.Errorf("the image made of a container has %q", out)
	}
	archive := p.dir + "/saved.tar"
	p.run(t, "save", "-q", "-o", archive, name)
	if st, err := os.Stat(archive); err != nil || st.Size() == 0 {
		t.Errorf("saved: %v, %v", st, err)
	}
}
