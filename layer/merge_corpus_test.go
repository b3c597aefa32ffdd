//go:build linux

package layer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/reference"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/treelist"
	"github.com/shoal-project/shoal/layer/erofs"
)

// The same tree: what a layer's builder, the merge and the image tree make of an
// image is what other programs unpack.
func TestCorpusIsTheSameTree(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIP: -short: unpacks some 130 images")
	}
	refs := newReferences(t, *withContainerd)
	cases := map[string]testimage.Case{}
	for _, c := range testimage.Corpus() {
		cases[c.Name] = c
	}
	for _, c := range testimage.Corpus() {
		t.Run(c.Name, func(t *testing.T) {
			ours, err := merged(t, c.Layers)
			if c.Refused && err != nil {
				refused(t, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			like := c
			if c.Like != "" {
				like = cases[c.Like]
			}
			refs.compare(t, like, ours)
		})
	}
}

func refused(t *testing.T, err error) {
	t.Helper()
	for _, known := range []error{ErrUnsupported, ErrHostile, ErrLimit, ErrMalformed} {
		if errors.Is(err, known) {
			return
		}
	}
	t.Errorf("refused by an error of no kind: %v", err)
}

// references unpack images by other programs.
type references struct {
	all        bool // compare with containerd also where umoci is right
	containerd *reference.Containerd
}

func newReferences(t *testing.T, all bool) *references {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: unpacking devices and owners needs root")
	}
	for _, program := range []string{"umoci", "containerd", "ctr", "tar"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIP: %s is not here", program)
		}
	}
	c, err := reference.StartContainerd(t.Context(), short(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return &references{all: all, containerd: c}
}

// short is a directory with a short path, for sockets and for mounts.
func short(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func image(t *testing.T, sources []testimage.Source) v1.Image {
	t.Helper()
	layers := make([]v1.Layer, len(sources))
	for i, s := range sources {
		var err error
		if layers[i], err = testimage.NewLayer(testimage.Plain, s); err != nil {
			t.Fatal(err)
		}
	}
	img, err := testimage.Assemble(testimage.OCI, testimage.Config{}, layers...)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// compare tells where ours is not what the case's references say.
func (r *references) compare(t *testing.T, c testimage.Case, ours []treelist.Entry) {
	t.Helper()
	began := time.Now().Truncate(time.Second)
	if c.Alone != "containerd" && !r.compareUmoci(t, c, ours) {
		t.Error("umoci refuses the image")
	}
	if c.Alone == "containerd" || c.Alone == "" && r.all {
		err := r.containerd.View(t.Context(), image(t, c.Layers), func(root string) error {
			// Overlayfs counts a directory's links as one, and a file's as in its layer.
			want := list(t, root, treelist.Options{Overlay: true})
			tell(t, "containerd", want, ours, treelist.Ignore{Unpacked: began, DirNlink: true, Nlink: true})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// compareUmoci tells false if umoci refuses the image.
func (r *references) compareUmoci(t *testing.T, c testimage.Case, ours []treelist.Entry) bool {
	t.Helper()
	began := time.Now().Truncate(time.Second)
	dir := short(t)
	defer os.RemoveAll(dir)
	root, err := reference.Umoci(t.Context(), dir, image(t, c.Layers))
	if err != nil {
		t.Log(err)
		return false
	}
	tell(t, "umoci", list(t, root, treelist.Options{}), ours, treelist.Ignore{Unpacked: began, Root: true})
	return true
}

func list(t *testing.T, root string, o treelist.Options) []treelist.Entry {
	t.Helper()
	all, err := treelist.List(t.Context(), root, o)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func tell(t *testing.T, who string, want, got []treelist.Entry, ig treelist.Ignore) {
	t.Helper()
	for _, line := range treelist.Diff(want, got, ig) {
		t.Errorf("unlike %s: %s", who, line)
	}
}

// merged builds and merges layers, and lists the tree as the kernel shows it;
// and asserts that our own reader shows the same.
func merged(t *testing.T, sources []testimage.Source) ([]treelist.Entry, error) {
	t.Helper()
	dir := short(t)
	objects := &dirSink{dir: dir}
	maps, err := buildAll(t, sources, objects)
	if err != nil {
		return nil, err
	}
	var image bytes.Buffer
	tree, err := Merge(maps, &image)
	if err != nil {
		return nil, err
	}
	if tree.Size != int64(image.Len()) {
		t.Errorf("a tree of %d bytes was said to have %d", image.Len(), tree.Size)
	}
	var again bytes.Buffer
	if _, err := Merge(maps, &again); err != nil || !bytes.Equal(again.Bytes(), image.Bytes()) {
		t.Errorf("merged again the tree is another: %v", err)
	}
	read, err := readTree(image.Bytes(), objects)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tree")
	if err := os.WriteFile(path, image.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	mounted := mountTree(t, path, objects, tree)
	tell(t, "the kernel", mounted, read, treelist.Ignore{})
	return mounted, nil
}

// mountTree lists the tree as the kernel mounts it.
func mountTree(t *testing.T, path string, objects *dirSink, tree *Tree) []treelist.Entry {
	t.Helper()
	var devices []string
	for _, o := range tree.Objects {
		devices = append(devices, objects.path(o.Digest))
	}
	target := filepath.Join(objects.dir, "mnt")
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := erofs.Mount(path, devices, 0, target); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(target, 0); err != nil {
			t.Error(err)
		}
	}()
	return list(t, target, treelist.Options{})
}

func buildAll(t *testing.T, sources []testimage.Source, sink Sink) ([]*Map, error) {
	t.Helper()
	dir := t.TempDir()
	var maps []*Map
	for i, s := range sources {
		path := fmt.Sprintf("%s/%d", dir, i)
		if err := buildOne(t.Context(), s, sink, path); err != nil {
			return nil, err
		}
		m, err := OpenMap(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		maps = append(maps, m)
	}
	return maps, nil
}

func buildOne(ctx context.Context, s testimage.Source, sink Sink, path string) error {
	diffID, size, err := digestOf(s)
	if err != nil {
		return err
	}
	r, err := s()
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = Build(ctx, r, Descriptor{Blob: diffID, Size: size, DiffID: diffID}, sink, nil, DefaultLimits(), path)
	return err
}

func digestOf(s testimage.Source) (d chunk.Digest, size int64, err error) {
	r, err := s()
	if err != nil {
		return d, 0, err
	}
	defer r.Close()
	h := sha256.New()
	size, err = io.Copy(h, r)
	return chunk.Digest(h.Sum(nil)), size, err
}

func TestTarOfTheCorpusIsDeterministic(t *testing.T) {
	for _, c := range testimage.Corpus() {
		for i, s := range c.Layers {
			a, _, err := digestOf(s)
			if err != nil {
				t.Fatalf("%s, layer %d: %v", c.Name, i, err)
			}
			if b, _, err := digestOf(s); err != nil || a != b {
				t.Errorf("%s, layer %d: another stream each time, %v", c.Name, i, err)
			}
		}
	}
}
