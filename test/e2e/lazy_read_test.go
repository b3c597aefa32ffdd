//go:build e2e && linux

package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/lazyfs"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/treelist"
)

// bigFile is an image of one large file, and the file's bytes.
func bigFile(t *testing.T, seed uint64, size int64) (v1.Image, []byte) {
	t.Helper()
	content := noise(seed, size)
	return imageOf(t, testimage.Plain, []testimage.Entry{testimage.File("big", 0o644, content)}), content
}

// noise is pseudo-random bytes.
func noise(seed uint64, size int64) []byte {
	p := make([]byte, size)
	x := seed*0x9e3779b97f4a7c15 + 1
	for i := range p {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x >> 32)
	}
	return p
}

// part has a program read n bytes of a file at off.
func part(t *testing.T, file string, off, n int64) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "dd", "if="+file, "bs=4096", "status=none", "iflag=skip_bytes,count_bytes",
		fmt.Sprintf("skip=%d", off), fmt.Sprintf("count=%d", n))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	p, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return p, err
}

func TestPartOfALargeFileMovesLittle(t *testing.T) {
	const size, off = 64 << 20, 33<<20 + 5000
	s := startSite(t)
	node := s.node(t, noFill())
	img, content := bigFile(t, 1, size)
	dir := node.mount(t, s.push(t, "big/file:v1", img))
	if got := must(part(t, dir+"/big", off, 4096))(t); !bytes.Equal(got, content[off:off+4096]) {
		t.Error("the bytes are not right")
	}
	status := node.image(t, dir)
	if status.Fetched == 0 || status.Fetched > size/8 || status.State != lazyfs.StateLazy {
		t.Errorf("4 KiB moved %d bytes, state %s", status.Fetched, status.State)
	}
	if moved := status.Sources["supernode"]; moved == 0 || moved > size/8 {
		t.Errorf("the peer got %v, want a little from the supernode", status.Sources)
	}
	_, err := node.tryMount(t, status.Reference, "--native")
	if err == nil || !strings.Contains(err.Error(), "are not on this node yet") {
		t.Errorf("the kernel is to serve an image that is not all here: %v", err)
	}
}

func TestTwoNodesMountAtOnceAndAThirdFromThem(t *testing.T) {
	s := startSite(t)
	content := noise(2, 24<<20)
	img := imageOf(t, testimage.Gzip,
		[]testimage.Entry{testimage.File("big", 0o644, content)}, testimage.OddEntries())
	name := s.push(t, "shared/image:v1", img)
	want, ig := startReferences(t).listing(t, img, "containerd")
	var group errgroup.Group
	for range 2 {
		node := s.node(t)
		group.Go(func() error {
			dir, err := node.tryMount(t, name)
			if err != nil {
				return err
			}
			got, err := treelist.ListApart(t.Context(), dir, treelist.Options{})
			if lines := treelist.Diff(want, got, ig); len(lines) > 0 {
				return fmt.Errorf("unlike the reference: %s", strings.Join(lines, "; "))
			}
			if err == nil {
				node.untilComplete(t, dir)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	third := s.node(t, noFill())
	dir := third.mount(t, name)
	// Now nobody but the two has the bytes.
	if err := s.registry.Stop(); err != nil {
		t.Error(err)
	}
	s.super.stop(t)
	removeObject(t, s.super.dir, ofFile(content).Digest.Hex)
	removeObject(t, s.super.dir, layerOf(t, img).Digest.Hex) // of which it could derive it again
	s.super.run(t)
	if got, err := startReader(t, dir+"/big").rest(); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if from := third.image(t, dir).Sources; from["peer"] < int64(len(content)) {
		t.Errorf("the bytes came from %v, want all of them from peers", from)
	}
}

// removeObject takes an object out of the store of a node that is not running.
func removeObject(t *testing.T, dir, name string) {
	t.Helper()
	out := command(t, nil, "find", dir+"/data", "-name", name+"*", "-type", "f", "-print", "-delete")
	if out == "" {
		t.Errorf("no object %s below %s", name, dir)
	}
}

func TestTenImagesAtOnce(t *testing.T) {
	s := startSite(t)
	node := s.node(t)
	var group errgroup.Group
	shared := testimage.File("shared", 0o644, noise(99, 3<<20))
	for i := range uint64(10) {
		content := noise(100+i, 5<<20+int64(i)*1000)
		small := []testimage.Entry{shared, testimage.Dir("d", 0o755)}
		for k := range 200 {
			small = append(small, testimage.File(fmt.Sprintf("d/%03d", k), 0o644, content[k*1000:k*1000+k*30]))
		}
		img := imageOf(t, encodings[i%3], small, []testimage.Entry{testimage.File("big", 0o600, content)})
		name := s.push(t, fmt.Sprintf("ten/image:%d", i), img)
		group.Go(func() error {
			dir, err := node.tryMount(t, name)
			if err != nil {
				return err
			}
			got, err := treelist.ListApart(t.Context(), dir, treelist.Options{})
			if err != nil {
				return err
			}
			return holds(got, map[treelist.Name][]byte{
				"big": content, "shared": noise(99, 3<<20), "d/199": content[199*1000 : 199*1000+199*30], "d/000": nil,
			})
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	for i := range 10 {
		node.untilComplete(t, fmt.Sprintf("%s/ten/image:%d", s.registry.Host(), i))
	}
}

// holds checks some contents of a listing.
func holds(all []treelist.Entry, want map[treelist.Name][]byte) error {
	for _, e := range all {
		if content, ok := want[e.Path]; ok && e.Sum != sha256.Sum256(content) {
			return fmt.Errorf("%s has other content", e.Path)
		}
		delete(want, e.Path)
	}
	if len(want) > 0 {
		return fmt.Errorf("missing: %d of them", len(want))
	}
	return nil
}
