//go:build linux

package reference

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/cri"
)

// Containerd is a running containerd of its own.
type Containerd struct {
	dir    string
	cmd    *exec.Cmd
	log    *os.File
	exited chan struct{}
	images int
}

// StartContainerd starts one that keeps everything below dir, an absolute path
// short enough for a socket. Stop it.
func StartContainerd(ctx context.Context, dir string) (*Containerd, error) {
	config := cri.Containerd{Dir: dir, NoPods: true}
	if err := config.Write(); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	c := &Containerd{dir: dir, cmd: exec.Command("containerd", "-c", config.ConfigFile()), log: log, exited: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start containerd: %w", err), log.Close())
	}
	go func() {
		_ = c.cmd.Wait()
		close(c.exited)
	}()
	if err := c.ready(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// ready polls until containerd answers.
func (c *Containerd) ready(ctx context.Context) error {
	for {
		_, err := c.ctr(ctx, "version")
		if err == nil {
			return nil
		}
		select {
		case <-c.exited:
			out, _ := os.ReadFile(c.log.Name())
			return fmt.Errorf("containerd ended before it answered: %s", tail(out))
		case <-ctx.Done():
			return fmt.Errorf("wait for containerd: %w", errors.Join(ctx.Err(), err))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *Containerd) ctr(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "ctr", append([]string{"-a", cri.Containerd{Dir: c.dir}.Socket(), "-n", "reference"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("ctr %s: %w: %s", args[0], err, tail(bytes.TrimSpace(out)))
	}
	return out, nil
}

// View unpacks an image with the snapshotter overlayfs and calls see with a
// directory on which it is mounted, read-only, until see returns. An error of see
// is View's.
func (c *Containerd) View(ctx context.Context, img v1.Image, see func(root string) error) (err error) {
	c.images++
	work := filepath.Join(c.dir, fmt.Sprint(c.images))
	oci, root := filepath.Join(work, "oci"), filepath.Join(work, "view")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := writeLayout(oci, img); err != nil {
		return err
	}
	archive := filepath.Join(work, "oci.tar")
	if out, err := exec.CommandContext(ctx, "tar", "-C", oci, "-cf", archive, ".").CombinedOutput(); err != nil {
		return fmt.Errorf("tar an OCI layout: %w: %s", err, tail(out))
	}
	name := fmt.Sprintf("reference.test/case-%d", c.images)
	if _, err := c.ctr(ctx, "image", "import", "--base-name", name, archive); err != nil {
		return err
	}
	name += ":" + tag
	defer func() {
		_, removed := c.ctr(context.WithoutCancel(ctx), "image", "rm", "--sync", name)
		err = errors.Join(err, removed)
	}()
	if _, err := c.ctr(ctx, "image", "mount", name, root); err != nil {
		return err
	}
	defer func() {
		_, unmounted := c.ctr(context.WithoutCancel(ctx), "image", "unmount", "--rm", root)
		err = errors.Join(err, unmounted)
	}()
	return see(root)
}

// Stop ends containerd and waits for it.
func (c *Containerd) Stop() error {
	err := c.cmd.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case <-c.exited:
	case <-time.After(10 * time.Second):
		err = errors.Join(err, c.cmd.Process.Kill())
		<-c.exited
	}
	return errors.Join(err, c.log.Close())
}
