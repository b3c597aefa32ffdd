//go:build linux

package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/shoal-project/shoal/bench/lab"
)

const containerdConfig = `version = 2
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "%[1]s/c.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "%[1]s/opt"
`

// Containerd is a running containerd of the Debian package of that name, with
// the overlayfs snapshotter and no images.
type Containerd struct {
	*lab.Process
	host *lab.Host
	dir  string
}

// ContainerdVersion is what containerd says of itself.
func ContainerdVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "containerd", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("containerd --version: %w; install it: apt-get install containerd", err)
	}
	fields := strings.Fields(string(out))
	if len(fields) < 3 {
		return "containerd", nil
	}
	return "containerd " + fields[2], nil
}

// StartContainerd starts it with all its files in dir, which Stop deletes, and
// waits until it answers.
func StartContainerd(ctx context.Context, host *lab.Host, dir string) (*Containerd, error) {
	c := &Containerd{host: host, dir: dir}
	if err := c.begin(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Containerd) begin(ctx context.Context) error {
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	config, log := filepath.Join(c.dir, "config.toml"), filepath.Join(c.dir, logName)
	if err := os.WriteFile(config, fmt.Appendf(nil, containerdConfig, c.dir), 0o600); err != nil {
		return err
	}
	output, err := os.Create(log)
	if err != nil {
		return err
	}
	defer output.Close()
	c.Process, err = c.host.Start(lab.Command{Args: []string{"containerd", "-c", config}, Stdout: output, Stderr: output})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		if err = c.ctr(ctx, "version"); err == nil {
			return nil
		}
		select {
		case <-c.Done():
			return errors.Join(errors.New("containerd ended before it was ready"), logTail(log))
		case <-ctx.Done():
			return errors.Join(err, logTail(log))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *Containerd) ctr(ctx context.Context, args ...string) error {
	var trouble bytes.Buffer
	args = append([]string{"ctr", "-a", filepath.Join(c.dir, "c.sock"), "-n", "bench"}, args...)
	p, err := c.host.Start(lab.Command{Args: args, Stderr: &trouble})
	if err != nil {
		return err
	}
	if err := p.Wait(ctx); err != nil {
		return errors.Join(fmt.Errorf("ctr %s: %w: %s", args[5], err, &trouble), p.Kill())
	}
	return nil
}

// Pull pulls an image from a plain-HTTP registry and unpacks it.
func (c *Containerd) Pull(ctx context.Context, image string) error {
	return c.ctr(ctx, "images", "pull", "--plain-http", "--snapshotter", "overlayfs", image)
}

// Mount mounts a pulled image, with an overlay that can be written, on a
// directory.
func (c *Containerd) Mount(ctx context.Context, image, dir string) error {
	return c.ctr(ctx, "images", "mount", "--rw", "--snapshotter", "overlayfs", image, dir)
}

// Stop ends containerd and deletes its files. Its mounts must be gone.
func (c *Containerd) Stop() error {
	var err error
	if c.Process != nil {
		err = c.Process.Stop()
	}
	if gone := UnmountBelow(c.dir); gone != nil {
		return errors.Join(err, gone) // never delete through a mount
	}
	return errors.Join(err, os.RemoveAll(c.dir))
}
