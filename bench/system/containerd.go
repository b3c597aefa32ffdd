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
	"github.com/shoal-project/shoal/internal/cri"
)

// Containerd is a running containerd of the Debian package of that name, with no
// images.
type Containerd struct {
	*lab.Process
	Pods   *cri.Client
	host   *lab.Host
	config cri.Containerd
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

// StartContainerd starts it with all its files in a directory, which Stop deletes,
// and waits until it answers. It goes to the registries themselves, unless
// config.Mirror has said otherwise; they speak plain HTTP.
func StartContainerd(ctx context.Context, host *lab.Host, config cri.Containerd) (*Containerd, error) {
	pods, err := cri.Dial(config.Socket())
	if err != nil {
		return nil, err
	}
	c := &Containerd{Pods: pods, host: host, config: config}
	if err := c.begin(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Containerd) begin(ctx context.Context) error {
	if err := c.config.Write(); err != nil {
		return err
	}
	log := filepath.Join(c.config.Dir, logName)
	output, err := os.Create(log)
	if err != nil {
		return err
	}
	defer output.Close()
	c.Process, err = c.host.Start(lab.Command{Args: []string{"containerd", "-c", c.config.ConfigFile()}, Stdout: output, Stderr: output})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for {
		if err = c.Pods.Ready(ctx); err == nil {
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
	args = append([]string{"ctr", "-a", c.config.Socket(), "-n", "bench"}, args...)
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
	return c.ctr(ctx, "images", "pull", "--plain-http", "--snapshotter", cri.Overlay, image)
}

// Mount mounts a pulled image, with an overlay that can be written, on a
// directory.
func (c *Containerd) Mount(ctx context.Context, image, dir string) error {
	return c.ctr(ctx, "images", "mount", "--rw", "--snapshotter", cri.Overlay, image, dir)
}

// Stop ends containerd, with all that runs in it, and deletes its files. Its mounts
// must be gone.
func (c *Containerd) Stop() error {
	err := c.Pods.Close()
	if c.Process != nil {
		err = errors.Join(err, c.Process.Stop())
	}
	if gone := UnmountBelow(c.config.Dir); gone != nil {
		return errors.Join(err, gone) // never delete through a mount
	}
	return errors.Join(err, os.RemoveAll(c.config.Dir))
}
