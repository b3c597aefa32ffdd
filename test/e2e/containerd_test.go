//go:build e2e && linux

package e2e

import (
	"context"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/internal/cri"
)

// containerd is a running containerd.
type containerd struct {
	*process
	config cri.Containerd
	pods   *cri.Client
}

// startContainerd sends everything for the registries to a mirror, also what the
// mirror does not have.
func startContainerd(t *testing.T, config cri.Containerd, mirror string, registries ...string) *containerd {
	t.Helper()
	config.Dir = directory(t)
	c := &containerd{config: config, pods: must(cri.Dial(config.Socket()))(t)}
	if err := config.Write(); err != nil {
		t.Fatal(err)
	}
	for _, r := range registries {
		if err := config.Mirror(r, mirror); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { unmountUnder(t, config.Dir); removeGroups() })
	c.run(t)
	t.Cleanup(func() {
		if err := c.pods.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// run starts it, perhaps again, and returns when it runs containers and pods.
func (c *containerd) run(t *testing.T) {
	t.Helper()
	c.process = launch(t, here, c.config.Dir, nil, "containerd", "-c", c.config.ConfigFile())
	c.await(t, "its readiness", func(ctx context.Context) error {
		if _, err := try(t, nil, "ctr", "-a", c.config.Socket(), "version"); err != nil {
			return err
		}
		return c.pods.Ready(ctx)
	})
}

// ctr runs a command of containerd's client in our namespace, whose name is
// also the parent of its control groups.
func (c *containerd) ctr(t testing.TB, args ...string) string {
	t.Helper()
	return must(c.tryCtr(t, args...))(t)
}

func (c *containerd) tryCtr(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return try(t, nil, append([]string{"ctr", "-a", c.config.Socket(), "-n", groupName()}, args...)...)
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
