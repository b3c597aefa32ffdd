//go:build e2e && linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/internal/lazyfs"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/testregistry"
	"github.com/shoal-project/shoal/internal/treelist"
)

// lazy is a lazy file system beside a peer, perhaps running.
type lazy struct {
	*node
	peer *peer
}

func startLazy(t testing.TB, p *peer, edits ...edit) *lazy {
	t.Helper()
	l := newLazy(t, p, edits...)
	l.run(t)
	return l
}

// newLazy is one that is not running yet. It is up also while its peer is away.
func newLazy(t testing.TB, p *peer, edits ...edit) *lazy {
	t.Helper()
	dir := directory(t)
	admin := p.place.at(p.place.ports(t, 1)[0])
	l := &lazy{node: &node{place: p.place, dir: dir, config: settings{}, kind: "lazyfs", admin: admin, probe: "/healthz"}, peer: p}
	l.config.put("data_dir", dir+"/data")
	l.config.put("run_dir", dir+"/run")
	l.config.put("peer.socket", p.dir+"/a.sock")
	l.config.put("admin.listen", admin)
	l.config.put("admin.socket", dir+"/l.sock")
	l.config.put("log.level", "debug")
	l.config.put("resume.enabled", false) // SIGTERM leaves nothing behind
	for _, e := range edits {
		e(l.config)
	}
	t.Cleanup(func() { // after the daemon's end
		if l.process != nil && l.state != nil && l.state.Error() != "signal: killed" {
			t.Errorf("lazyfs ended with %v:\n%s", l.state, l.tail())
		}
		for _, line := range linesWith("/proc/self/mountinfo", dir+"/", "mount") {
			t.Errorf("left behind: %s", line)
		}
		unmountUnder(t, dir)
	})
	return l
}

// noFill keeps the rest of an image from coming by itself.
func noFill() edit { return with("fill.enabled", false) }

// fuseAlone has FUSE serve names and attributes, too.
func fuseAlone() edit { return with("fuse.kernel_tree", false) }

// order gives the running daemon an order by its program.
func (l *lazy) order(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return try(t, nil, append([]string{program("lazyfs"), "--config", l.file()}, args...)...)
}

// mount mounts an image on a directory of its own.
func (l *lazy) mount(t testing.TB, image string, flags ...string) string {
	t.Helper()
	dir, err := l.tryMount(t, image, flags...)
	if err != nil {
		t.Fatalf("%v\n%s", err, l.tail())
	}
	return dir
}

func (l *lazy) tryMount(t testing.TB, image string, flags ...string) (string, error) {
	t.Helper()
	dir, err := os.MkdirTemp(l.dir, "m")
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.order(t, append(append([]string{"mount", "-q"}, flags...), image, dir)...)
	return dir, err
}

func (l *lazy) unmount(t testing.TB, dir string) {
	t.Helper()
	if _, err := l.order(t, "unmount", dir); err != nil {
		t.Error(err)
	}
}

// image is the daemon's word on an image or directory.
func (l *lazy) image(t testing.TB, what string) lazyfs.ImageStatus {
	t.Helper()
	s, err := l.tryImage(t, what)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (l *lazy) tryImage(t testing.TB, what string) (lazyfs.ImageStatus, error) {
	t.Helper()
	out, err := l.order(t, "status", "--json", what)
	if err != nil {
		return lazyfs.ImageStatus{}, err
	}
	var all []lazyfs.ImageStatus
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 {
		return lazyfs.ImageStatus{}, fmt.Errorf("status --json %s says %s: %w", what, out, err)
	}
	return all[0], nil
}

// status is the daemon's word on itself.
func (l *lazy) status(t testing.TB) (s lazyfs.Status) {
	t.Helper()
	if err := json.Unmarshal([]byte(must(l.order(t, "status", "--json"))(t)), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// until polls the daemon's word on an image.
func (l *lazy) until(t testing.TB, what, state string, right func(lazyfs.ImageStatus) bool) lazyfs.ImageStatus {
	t.Helper()
	var last lazyfs.ImageStatus
	l.await(t, state, func(context.Context) (err error) {
		if last, err = l.tryImage(t, what); err == nil && !right(last) {
			err = fmt.Errorf("%s is not that: %+v", what, last)
		}
		return err
	})
	return last
}

func (l *lazy) untilComplete(t testing.TB, what string) {
	t.Helper()
	l.until(t, what, "completeness", func(s lazyfs.ImageStatus) bool { return s.State == lazyfs.StateComplete })
}

// listing is a tree as a program of its own sees it.
func listing(t testing.TB, root string) []treelist.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	return must(treelist.ListApart(ctx, root, treelist.Options{}))(t)
}

func same(t testing.TB, who string, want, got []treelist.Entry, ig treelist.Ignore) {
	t.Helper()
	for _, line := range treelist.Diff(want, got, ig) {
		t.Errorf("unlike %s: %s", who, line)
	}
}

// reader is a program that reads a file from a mount and can be held in the
// middle: it goes no further than a pipe beyond what was taken from it.
type reader struct {
	cmd    *exec.Cmd
	out    io.ReadCloser
	stderr strings.Builder
}

func startReader(t testing.TB, file string) *reader {
	t.Helper()
	r := &reader{cmd: exec.Command("cat", file)}
	r.out = must(r.cmd.StdoutPipe())(t)
	r.cmd.Stderr = &r.stderr
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	})
	return r
}

// first takes n bytes.
func (r *reader) first(t testing.TB, n int64) []byte {
	t.Helper()
	p := make([]byte, n)
	if _, err := io.ReadFull(r.out, p); err != nil {
		t.Fatalf("reading the first %d bytes: %v", n, err)
	}
	return p
}

// rest takes all that is left; the error is the program's.
func (r *reader) rest() ([]byte, error) {
	p, err := io.ReadAll(r.out)
	if waited := r.cmd.Wait(); waited != nil {
		err = fmt.Errorf("%w: %s", waited, r.stderr.String())
	}
	return p, err
}

// pushed is an image at a registry.
func pushed(t testing.TB, registry, repository string, img v1.Image) string {
	t.Helper()
	name := registry + "/" + repository
	if err := testimage.Push(t.Context(), name, img); err != nil {
		t.Fatal(err)
	}
	return name
}

// imageOf is an image with one layer for each list of entries.
func imageOf(t testing.TB, enc testimage.Encoding, layers ...[]testimage.Entry) v1.Image {
	t.Helper()
	var all []v1.Layer
	for _, entries := range layers {
		all = append(all, must(testimage.NewLayer(enc, testimage.Tar(entries...)))(t))
	}
	return must(testimage.Assemble(testimage.OCI, testimage.Config{}, all...))(t)
}

// site is a registry with a supernode.
type site struct {
	registry *testregistry.Debian
	super    *supernode
	reach    registries
}

func startSite(t *testing.T, edits ...edit) *site {
	t.Helper()
	s := &site{registry: startRegistry(t, testregistry.Options{})}
	s.reach = registries{hosts: []string{s.registry.Host()}}
	s.super = startSupernode(t, loopback(), distribution.ModeSupernode, s.reach, edits...)
	return s
}

func (s *site) push(t testing.TB, repository string, img v1.Image) string {
	t.Helper()
	return pushed(t, s.registry.Host(), repository, img)
}

// node is a peer of the site with a lazy file system.
func (s *site) node(t testing.TB, edits ...edit) *lazy {
	t.Helper()
	return startLazy(t, startPeer(t, loopback(), s.super, s.reach), edits...)
}

// forget drops what the kernel has in its memory of clean files, so that a read
// goes to the file system again.
func forget(t testing.TB) {
	t.Helper()
	unix.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
}
