package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/internal/progress"
	"github.com/shoal-project/shoal/internal/pull"
)

// program is what is started from the image: it reads some of the Go tree.
var program = []string{"/usr/local/go/bin/go", "list", "-f", "{{.ImportPath}}: {{.Doc}}", "net/http"}

// start is one way to the program's first output.
type start struct {
	ready   time.Duration // until its files were there
	output  time.Duration // until it had printed
	fetched int64         // by then
	text    string
}

// showLazy starts a program from the image on a node that has nothing, in two ways.
func showLazy(ctx context.Context, out io.Writer, c *cluster, o *origin) error {
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		fmt.Fprintln(out, "\nSKIP starting the image lazily: it needs root and /dev/fuse")
		return nil
	}
	fmt.Fprintf(out, "\nstarting `go list net/http` from the image on nodes that have nothing of it …\n\n")
	began := time.Now()
	if err := c.supernode.client.Pull(ctx, pull.Request{Image: o.image, Lazy: true}, func(pull.Event) {}); err != nil {
		return err
	}
	prepared := time.Since(began)
	eager, err := startEagerly(ctx, c, o)
	if err != nil {
		return fmt.Errorf("starting eagerly: %w", err)
	}
	lazy, whole, err := startLazily(ctx, c, o)
	if err != nil {
		return fmt.Errorf("starting lazily: %w", err)
	}
	if lazy.text != eager.text || lazy.text == "" {
		return fmt.Errorf("the program printed %q when lazy and %q when eager", lazy.text, eager.text)
	}
	fmt.Fprintf(out, "pulled and unpacked  files there after %.2f s, first output after %.2f s, %s fetched by then\n",
		eager.ready.Seconds(), eager.output.Seconds(), progress.Bytes(eager.fetched))
	fmt.Fprintf(out, "mounted lazily       files there after %.2f s, first output after %.2f s, %s fetched by then\n",
		lazy.ready.Seconds(), lazy.output.Seconds(), progress.Bytes(lazy.fetched))
	fmt.Fprintf(out, "                     all of it there after %.2f s: it needs no peer, supernode or registry any more\n", whole.Seconds())
	fmt.Fprintf(out, "once for the cluster the supernode read the layers for that in %.2f s\n", prepared.Seconds())
	return nil
}

// startEagerly pulls the image through a fresh peer and unpacks it.
func startEagerly(ctx context.Context, c *cluster, o *origin) (*start, error) {
	n, err := c.startPeer(ctx, "eager peer")
	if n != nil {
		c.others = append(c.others, n)
	}
	if err == nil {
		err = c.joined(ctx, []*node{n})
	}
	if err != nil {
		return nil, err
	}
	root := filepath.Join(c.dir, "unpacked")
	began := time.Now()
	if err := o.unpack(ctx, n, root); err != nil {
		return nil, err
	}
	s := &start{ready: time.Since(began)}
	if s.text, err = runIn(ctx, root); err != nil {
		return nil, err
	}
	s.output = time.Since(began)
	status, err := n.status(ctx)
	if err != nil {
		return nil, err
	}
	for _, bytes := range status.Received {
		s.fetched += bytes
	}
	return s, nil
}

// startLazily mounts the image over a fresh peer.
func startLazily(ctx context.Context, c *cluster, o *origin) (_ *start, whole time.Duration, err error) {
	lazy, err := startLazyNode(ctx, c)
	if err != nil {
		return nil, 0, err
	}
	root := filepath.Join(c.dir, "mounted")
	if err := os.Mkdir(root, 0o700); err != nil {
		return nil, 0, err
	}
	began := time.Now()
	if err := lazy.command(ctx, c, "mount", "--quiet", o.image, root); err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, lazy.command(context.WithoutCancel(ctx), c, "unmount", root)) }()
	s := &start{ready: time.Since(began)}
	if s.text, err = runIn(ctx, root); err != nil {
		return nil, 0, err
	}
	s.output = time.Since(began)
	state, present, err := lazy.image(ctx)
	s.fetched = present
	for err == nil && state != "complete" {
		select {
		case <-ctx.Done():
			return nil, 0, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
		state, _, err = lazy.image(ctx)
	}
	return s, time.Since(began), err
}

// startLazyNode starts a fresh peer and its lazy file system.
func startLazyNode(ctx context.Context, c *cluster) (*node, error) {
	peer, err := c.startPeer(ctx, "lazy peer")
	if peer != nil {
		c.others = append(c.others, peer)
	}
	if err == nil {
		err = c.joined(ctx, []*node{peer})
	}
	if err != nil {
		return nil, err
	}
	lazy, err := c.spawn("lazyfs", "lazyfs", []string{
		"--run-dir", filepath.Join(c.dir, "lazyfs", "run"), "--peer-socket", peer.socket, "--set", "admin.listen=127.0.0.1:0",
		"--set", "resume.enabled=false", // the demo leaves nothing behind
	})
	if err != nil {
		return nil, err
	}
	c.lazyfs = lazy
	return lazy, lazy.answers(ctx)
}

// unpack pulls the layers as a client does, a few at a time, and unpacks them in
// order below root.
func (o *origin) unpack(ctx context.Context, n *node, root string) error {
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	s, err := n.status(ctx)
	if err != nil {
		return err
	}
	base := "http://" + s.Listen["registry"] + "/v2/" + inPath(o.host) + "/go/blobs/"
	group, pulling := errgroup.WithContext(ctx)
	group.SetLimit(together)
	var files []string
	for _, item := range o.items {
		if !item.MediaType.IsLayer() {
			continue
		}
		file := filepath.Join(root, "..", "layer-"+item.Digest.Hex)
		files = append(files, file)
		group.Go(func() error { return download(pulling, base+item.Digest.String(), file) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, file := range files {
		cmd := exec.CommandContext(ctx, "tar", "-x", "-f", file, "-C", root)
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("unpacking: %w: %s", err, strings.TrimSpace(string(text)))
		}
	}
	return nil
}

func download(ctx context.Context, url, file string) (err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, response.Body)
	return errors.Join(err, out.Close())
}

// answers waits until the daemon does.
func (n *node) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		_, err := n.client.Status(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(n.log)
			return fmt.Errorf("%s does not come up: %w\n%s", n.name, err, text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// command runs one of the program's commands against the node.
func (n *node) command(ctx context.Context, c *cluster, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "lazyfs"), append(args, "--socket", n.socket)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lazyfs %s: %w: %s", args[0], err, strings.TrimSpace(string(text)))
	}
	return nil
}

// image tells the state of the one mounted image, and how much of it is here.
func (n *node) image(ctx context.Context) (state string, present int64, err error) {
	text, err := n.client.Status(ctx)
	if err != nil {
		return "", 0, err
	}
	var status struct {
		Images []struct {
			State   string `json:"state"`
			Present int64  `json:"present_bytes"`
		} `json:"images"`
	}
	if err := json.Unmarshal(text, &status); err != nil {
		return "", 0, err
	}
	if len(status.Images) != 1 {
		return "", 0, fmt.Errorf("lazyfs has %d images", len(status.Images))
	}
	return status.Images[0].State, status.Images[0].Present, nil
}

// runIn runs the program below root.
func runIn(ctx context.Context, root string) (string, error) {
	cmd := exec.CommandContext(ctx, "chroot", append([]string{root}, program...)...)
	cmd.Env = []string{"HOME=/", "GOROOT=/usr/local/go", "GOCACHE=off", "GOPROXY=off", "GOFLAGS=-mod=mod", "GO111MODULE=off", "GOPATH=/nowhere", "CGO_ENABLED=0", "GOTOOLCHAIN=local"}
	var problems strings.Builder
	cmd.Stderr = &problems
	text, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program[0], err, strings.TrimSpace(problems.String()))
	}
	return strings.TrimSpace(string(text)), nil
}
