//go:build e2e && linux

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// nested is what a container engine inside a container does: it mounts an overlay
// of its own on what its container has.
const nested = `set -e
mkdir -p /tmp/x && busybox mount -t tmpfs none /tmp/x && mkdir /tmp/x/up /tmp/x/work /tmp/x/root
busybox mount -t overlay -o lowerdir=/,upperdir=/tmp/x/up,workdir=/tmp/x/work none /tmp/x/root
echo inner > /tmp/x/root/etc/inner
busybox cat /tmp/x/root/odd/third /tmp/x/root/etc/inner
busybox umount /tmp/x/root && busybox umount /tmp/x`

// lowest is the directory below a running container's overlay.
func (m *machine) lowest(t testing.TB, id string) string {
	t.Helper()
	root := m.containerd.config.Dir + "/state/io.containerd.runtime.v2.task/" + groupName() + "/" + id + "/rootfs"
	for _, line := range linesWith("/proc/self/mountinfo", " "+root+" ", "") {
		_, lower, _ := strings.Cut(line, "lowerdir=")
		lower, _, _ = strings.Cut(lower, ",")
		layers := strings.Split(lower, ":")
		return layers[len(layers)-1]
	}
	t.Fatalf("container %s has no root", id)
	return ""
}

// isNative tells whether the kernel's own EROFS shows an image's directory, over the
// files of the store.
func isNative(t testing.TB, dir string) bool {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return s.Type == unix.EROFS_SUPER_MAGIC_V1 && filepath.Base(filepath.Dir(dir)) == "native"
}

func TestContainersOfCompleteImagesNeedNoDaemon(t *testing.T) {
	s := startSite(t)
	content := noise(140, 32<<20)
	name := s.push(t, "native/image:v1", layered(t, "native", content))
	m := s.machine(t, noFill())
	m.lazy.pull(t, m.containerd, name)
	m.run(t, "early", name, "exec busybox sleep 3600")
	if isNative(t, m.lowest(t, "early")) {
		t.Error("an image that is not here is the kernel's")
	}
	if out := m.in(t, "early", "sh", "-c", sums); out != sumOf(content) { // now all is here
		t.Errorf("it reads as %q", out)
	}
	m.lazy.untilComplete(t, name)
	m.run(t, "late", name, "exec busybox sleep 3600", "--privileged")
	if lower := m.lowest(t, "late"); !isNative(t, lower) {
		t.Errorf("of a complete image, the kernel does not serve %s", lower)
	}
	if status := m.lazy.image(t, name); !status.Native {
		t.Errorf("status says %+v", status)
	}
	for _, d := range []*process{m.lazy.process, m.lazy.peer.process, s.super.process} {
		d.kill()
	}
	forget(t)
	if out := m.in(t, "late", "sh", "-c", sums); out != sumOf(content) {
		t.Errorf("without any daemon it reads as %q", out)
	}
	if out := m.in(t, "late", "sh", "-c", nested); out != "one content, three names"+"inner\n" && out != "one content, three names\ninner\n" {
		t.Errorf("the overlay inside says %q", out)
	}
	m.lazy.peer.probe = "/healthz" // it is up, and says that it has no supernode
	m.lazy.peer.run(t)
	m.startLazy(t)
	if out := m.in(t, "early", "sh", "-c", sums); out != sumOf(content) {
		t.Errorf("after the daemons' return, a container that began lazily reads %q", out)
	}
	if _, err := os.Stat(m.lowest(t, "late")); err != nil {
		t.Error(err)
	}
}
