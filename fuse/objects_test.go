//go:build linux

package fuse

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/layer/erofs"
)

// kernelTree has the kernel mount an image's tree itself, over the files of the
// image's objects.
func kernelTree(t *testing.T, tr *tree, img string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "tree")
	if err := os.WriteFile(path, tr.bytes(t), 0o600); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "root")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "kerneltree", path, ObjectsDir(filepath.Split(img)), strconv.Itoa(len(tr.objects)), target)
	t.Cleanup(func() {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return target
}

func childKernelTree(args []string) (any, error) {
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return nil, err
	}
	var devices []string
	for i := range n {
		devices = append(devices, filepath.Join(args[1], strconv.Itoa(i)))
	}
	return nil, erofs.Mount(args[0], devices, 0, args[3])
}

func TestKernelTreeOverObjects(t *testing.T) {
	tr := everything()
	m := newMemory(t, tr.objects...)
	m.lazy = true
	_, im, img := withImage(t, Default(), tr, m)
	root := kernelTree(t, tr, img)
	if n := len(m.fetches()); n != 0 {
		t.Errorf("mounting fetched %d ranges", n)
	}
	var all map[string]found
	run(t, &all, "walk", root)
	want := 0
	tr.walk(func(path string, n *treeNode) {
		want++
		counted := *n
		counted.content.Holes = nil // the kernel's EROFS counts holes as blocks
		compareFound(t, path, &counted, all[path])
	})
	if len(all) != want {
		t.Errorf("%d names, not %d", len(all), want)
	}
	if s := im.Status(); s.Errors != 0 || len(m.fetches()) == 0 {
		t.Errorf("%+v, %d fetches", s, len(m.fetches()))
	}
}

// Two overlays can stand upon each other there, with passthrough on: the kernel
// counts no layers below its own file system.
func TestKernelTreeUnderOverlays(t *testing.T) {
	tr := newTree()
	tr.inline("f", []byte("f"))
	_, _, img := withImage(t, Default(), tr, newMemory(t))
	var got []string
	run(t, &got, "overlay", kernelTree(t, tr, img), t.TempDir(), "2")
	if !slices.Equal(got, []string{"f+0", "f+0+1"}) {
		t.Errorf("%q", got)
	}
}

// lazyTree is lazyMount, by the kernel's reading of the tree.
func lazyTree(t *testing.T, cfg Config, gated bool) (*Image, *memory, []byte, string) {
	_, im, m, tr, img := lazyImage(t, cfg, gated)
	return im, m, tr.at("f").data, kernelTree(t, tr, img) + "/f"
}

func TestKernelTreeKilledReader(t *testing.T) {
	im, m, data, path := lazyTree(t, Default(), true)
	cmd, killed := start(t, "sum", path)
	_, other := start(t, "sum", path)
	waitFor(t, func() bool { return len(im.Status().Waits) > 0 })
	if err := cmd.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	dead := make(chan struct{})
	go func() {
		killed()
		close(dead)
	}()
	eventually(t, dead)
	close(m.gate)
	out, err := other()
	if want := chunk.SumBytes(data).Hex(); err != nil || !strings.Contains(out, want) {
		t.Errorf("the other reader: %v, %q", err, out)
	}
	if im.Status().Errors != 0 {
		t.Errorf("%+v", im.Status())
	}
}

func TestKernelTreeDeadline(t *testing.T) {
	cfg := Default()
	cfg.Deadline = 100 * time.Millisecond
	_, m, data, path := lazyTree(t, cfg, true)
	var errnos []string
	if run(t, &errnos, "errno", path); !slices.Equal(errnos, []string{"EIO"}) {
		t.Errorf("%q", errnos)
	}
	close(m.gate)
	comesAfterAll(t, path, data)
}

// Objects are root's, and no tree can name them.
func TestObjectsAreApart(t *testing.T) {
	tr := everything()
	_, _, img := withImage(t, Default(), tr, newMemory(t, tr.objects...))
	dir := ObjectsDir(filepath.Split(img))
	var names []string
	if run(t, &names, "names", dir); len(names) != len(tr.objects) {
		t.Errorf("names %q", names)
	}
	var errnos []string
	run(t, &errnos, "errno", dir+"/0", dir+"/00", dir+"/-1", dir+"/"+strconv.Itoa(len(tr.objects)), dir+"/x", dir+"/0/x")
	if want := []string{"<nil>", "ENOENT", "ENOENT", "ENOENT", "ENOENT", "ENOTDIR"}; !slices.Equal(errnos, want) {
		t.Errorf("%q, not %q", errnos, want)
	}
	if run(t, &errnos, "access", "1000", dir+"/0"); !slices.Equal(errnos, []string{"EACCES"}) {
		t.Errorf("another user: %q", errnos)
	}
	if run(t, &names, "names", filepath.Dir(dir)); !slices.Equal(names, []string{"img"}) {
		t.Errorf("listed: %q", names)
	}
}

// Those who wait for the bytes of one image, however many they are, keep nobody from
// reading what is here of another.
func TestManyWhoWaitHinderNobody(t *testing.T) {
	for name, view := range map[string]func(t *testing.T, tr *tree, img string) string{
		"fuse": func(_ *testing.T, _ *tree, img string) string { return img },
		"tree": kernelTree,
	} {
		t.Run(name, func(t *testing.T) { testManyWhoWait(t, view) })
	}
}

func testManyWhoWait(t *testing.T, view func(t *testing.T, tr *tree, img string) string) {
	const readers = 300
	waited, present := newTree(), newTree()
	held := newMemory(t)
	for i := range readers {
		o := append(noise(1, 128<<10), byte(i), byte(i>>8))
		waited.file(fmt.Sprintf("f%d", i), o)
		held.data[chunk.SumBytes(o)] = o
	}
	held.lazy, held.gate = true, make(chan struct{})
	f, im, img := withImage(t, Default(), waited, held)
	here := noise(1000, 1<<20)
	present.file("here", here)
	if _, err := f.Add(8, "other", present.image(t), newMemory(t, here)); err != nil {
		t.Fatal(err)
	}
	dir, other := view(t, waited, img), view(t, present, filepath.Dir(img)+"/other")
	var paths []string
	for i := range readers {
		paths = append(paths, fmt.Sprintf("%s/f%d", dir, i))
	}
	_, crowd := start(t, "crowd", paths...)
	waitFor(t, func() bool { // a reader may wait for several parts
		objects := map[chunk.Digest]bool{}
		for _, w := range im.Status().Waits {
			objects[w.Object] = true
		}
		return len(objects) == readers
	})
	var sums map[string]string
	if run(t, &sums, "sum", other+"/here"); sums[other+"/here"] != hexOf(here) {
		t.Error("wrong content")
	}
	close(held.gate)
	if out, err := crowd(); err != nil {
		t.Error(err, out)
	}
}
