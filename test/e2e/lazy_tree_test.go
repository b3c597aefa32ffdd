//go:build e2e && linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/reference"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/treelist"
)

// references unpack images by other programs.
type references struct {
	one        sync.Mutex // held while containerd is asked
	containerd *reference.Containerd
}

func startReferences(t *testing.T) *references {
	t.Helper()
	c := must(reference.StartContainerd(t.Context(), directory(t)))(t)
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &references{containerd: c}
}

// listing is an image's tree by the one reference that is right about it, and
// what that cannot keep of it.
func (r *references) listing(t *testing.T, img v1.Image, alone string) (want []treelist.Entry, ig treelist.Ignore) {
	t.Helper()
	ig.Unpacked = time.Now().Truncate(time.Second)
	if alone != "containerd" {
		dir := directory(t)
		root := must(reference.Umoci(t.Context(), dir, img))(t)
		ig.Root = true
		want = must(treelist.List(t.Context(), root, treelist.Options{}))(t)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
		return want, ig
	}
	ig.DirNlink, ig.Nlink = true, true // overlayfs counts links its own way
	r.one.Lock()
	defer r.one.Unlock()
	err := r.containerd.View(t.Context(), img, func(root string) (err error) {
		want, err = treelist.List(t.Context(), root, treelist.Options{Overlay: true})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return want, ig
}

// views are two daemons beside one peer: the kernel reads the trees of the one's
// images itself, and FUSE alone serves the other's.
type views [2]*lazy

func (s *site) views(t *testing.T) views {
	t.Helper()
	tree := s.node(t)
	return views{tree, startLazy(t, tree.peer, fuseAlone())}
}

// sameEverywhere mounts an image that the node has nothing of, in one way and then
// in the other, and again by the kernel alone when all of it is there.
func (v views) sameEverywhere(t *testing.T, name string, want []treelist.Entry, ig treelist.Ignore) {
	t.Helper()
	first, second := v[0], v[1]
	dir := first.mount(t, name)
	lazily := listing(t, dir)
	same(t, "the reference", want, lazily, ig)
	other := second.mount(t, name)
	same(t, "the other lazy mount", lazily, listing(t, other), treelist.Ignore{})
	second.unmount(t, other)
	first.untilComplete(t, dir)
	native := first.mount(t, name, "--native")
	same(t, "the lazy mount", lazily, listing(t, native), treelist.Ignore{})
	first.unmount(t, native)
	first.unmount(t, dir)
}

var encodings = []testimage.Encoding{testimage.Gzip, testimage.Zstd, testimage.Plain}

func TestLazyTreesOfTheCorpus(t *testing.T) {
	t.Cleanup(func() {
		if _, err := os.Lstat("/tmp/shoal-escaped"); err == nil {
			t.Error("a file came out of an image")
		}
	})
	s := startSite(t)
	nodes := s.views(t)
	refs := startReferences(t)
	corpus := testimage.Corpus()
	cases := map[string]testimage.Case{}
	for _, c := range corpus {
		cases[c.Name] = c
	}
	for i, c := range corpus {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			img := caseImage(t, c, encodings[i%len(encodings)])
			name := s.push(t, fmt.Sprintf("corpus/image:%d", i), img)
			if c.Refused {
				refused(t, nodes[i%2], name)
				return
			}
			like := c
			if c.Like != "" {
				like = cases[c.Like]
			}
			want, ig := refs.listing(t, caseImage(t, like, testimage.Plain), like.Alone)
			views{nodes[i%2], nodes[1-i%2]}.sameEverywhere(t, name, want, ig)
		})
	}
}

// refused is an image that may be refused, for a stated reason.
func refused(t *testing.T, node *lazy, name string) {
	t.Helper()
	dir, err := node.tryMount(t, name)
	if err == nil {
		listing(t, dir) // also what is odd can be listed
		node.unmount(t, dir)
		return
	}
	for _, part := range []string{"cannot be served lazily: ", "layer", "the ordinary pull does not need this"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the reason is not told, or not what to do: %v", err)
		}
	}
}

func caseImage(t *testing.T, c testimage.Case, enc testimage.Encoding) v1.Image {
	t.Helper()
	var layers []v1.Layer
	for _, source := range c.Layers {
		layers = append(layers, must(testimage.NewLayer(enc, source))(t))
	}
	return must(testimage.Assemble(testimage.OCI, testimage.Config{}, layers...))(t)
}

func TestLazyTreeOfTheGoToolchain(t *testing.T) {
	s := startSite(t)
	nodes := s.views(t)
	img := must(testimage.GoTree(t.Context(), testimage.Gzip))(t)
	name := s.push(t, "go/tree:v1", img)
	want, ig := startReferences(t).listing(t, img, "umoci")
	nodes.sameEverywhere(t, name, want, ig)
}

// packages are small ones with all that Debian does: links of both kinds,
// programs with set-id bits, many directories shared between layers.
var packages = []string{"base-files", "bash", "libc6", "tzdata", "perl-base", "passwd"}

func TestLazyTreeOfDebianPackages(t *testing.T) {
	img := debianImage(t)
	s := startSite(t)
	nodes := s.views(t)
	name := s.push(t, "debian/packages:v1", img)
	want, ig := startReferences(t).listing(t, img, "umoci")
	nodes.sameEverywhere(t, name, want, ig)
}

// debianImage has the unchanged content of one package in each layer.
func debianImage(t *testing.T) v1.Image {
	t.Helper()
	dir := directory(t)
	download := exec.CommandContext(t.Context(), "apt-get", append([]string{"download", "-q"}, packages...)...)
	download.Dir = dir
	if out, err := download.CombinedOutput(); err != nil {
		t.Skipf("SKIP: no Debian packages to be had: %v: %s", err, out)
	}
	var layers []v1.Layer
	for i, file := range must(filepath.Glob(dir + "/*.deb"))(t) {
		content := must(exec.CommandContext(t.Context(), "dpkg-deb", "--fsys-tarfile", file).Output())(t)
		layers = append(layers, must(testimage.NewLayer(unpackable[i%2], whole(content)))(t))
	}
	return must(testimage.Assemble(testimage.OCI, testimage.Config{}, layers...))(t)
}

// unpackable are the encodings that umoci knows.
var unpackable = []testimage.Encoding{testimage.Gzip, testimage.Plain}

func whole(content []byte) testimage.Source {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}
