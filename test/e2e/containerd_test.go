//go:build e2e && linux

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// containerd is a running containerd with CRI, told to use a mirror.
type containerd struct {
	*process
	socket string
	hosts  string // certs.d
}

const containerdConfig = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "%[1]s/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/opt"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "%[1]s/certs.d"
`

// startContainerd sends everything for both registries to a mirror, also what the
// mirror does not have.
func startContainerd(t *testing.T, mirror string, o origins) *containerd {
	t.Helper()
	dir := directory(t)
	c := &containerd{socket: dir + "/c.sock", hosts: dir + "/certs.d"}
	writeFile(t, dir+"/config.toml", fmt.Sprintf(containerdConfig, dir))
	for _, r := range []string{o.public.Host(), o.private.Host()} {
		writeFile(t, filepath.Join(c.hosts, r, "hosts.toml"), fmt.Sprintf(
			"server = \"http://%[1]s\"\n[host.\"http://%[1]s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", mirror))
	}
	t.Cleanup(func() { unmountUnder(t, dir); removeGroups() })
	c.process = launch(t, here, dir, nil, "containerd", "-c", dir+"/config.toml")
	c.await(t, "its socket", func(context.Context) error {
		_, err := try(t, nil, "ctr", "-a", c.socket, "version")
		return err
	})
	return c
}

// ctr runs a command of containerd's client in our namespace, whose name is
// also the parent of its control groups.
func (c *containerd) ctr(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, nil, append([]string{"ctr", "-a", c.socket, "-n", groupName()}, args...)...)
}

// unmountUnder detaches what an engine left mounted, deepest first.
func unmountUnder(t testing.TB, dir string) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Error(err)
		return
	}
	lines := strings.Split(string(text), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			if err := unix.Unmount(fields[4], unix.MNT_DETACH); err != nil {
				t.Errorf("unmounting %s: %v", fields[4], err)
			}
		}
	}
}
