package testimage

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func digestOf(t *testing.T, img interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	d, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d.String()
}

func TestRandomIsDistinctBySeedAndLayerAndTheSameEachTime(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(2) {
		for n := range 2 {
			a, err := RandomLayer(seed, n, 8192)
			if err != nil {
				t.Fatal(err)
			}
			b, err := RandomLayer(seed, n, 8192)
			if err != nil {
				t.Fatal(err)
			}
			if digestOf(t, a) != digestOf(t, b) {
				t.Errorf("layer %d of seed %d differs between two builds", n, seed)
			}
			if seen[digestOf(t, a)] {
				t.Errorf("layer %d of seed %d is another's twin", n, seed)
			}
			seen[digestOf(t, a)] = true
			if size, _ := a.Size(); size != 8192 {
				t.Errorf("size %d, want 8192", size)
			}
		}
	}
}

func TestRandomRefusesSizesThatNoTarHas(t *testing.T) {
	for _, size := range []int64{-512, 0, 512, 1536, 4097} {
		if _, err := Random(1, 1, size); err == nil {
			t.Errorf("size %d was accepted", size)
		}
		if _, err := Huge(1, size); err == nil {
			t.Errorf("huge size %d was accepted", size)
		}
	}
}

func TestHugeIsATarOfTheStatedSizeMostlyZero(t *testing.T) {
	const size = 3*islandEvery + 1024
	l, err := Huge(7, size)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := io.ReadAll(r)
	if err != nil || len(p) != size {
		t.Fatalf("read %d bytes, %v; want %d", len(p), err, size)
	}
	if zeros := bytes.Count(p, []byte{0}); zeros < size*9/10 {
		t.Errorf("%d of %d bytes are zero", zeros, size)
	}
	for i := range 3 {
		island := p[tarBlock+i*islandEvery:][:islandSize]
		if bytes.Count(island, []byte{0}) > islandSize/16 {
			t.Errorf("island %d is not random", i)
		}
	}
}

func TestOddLayerKeepsWhatItSays(t *testing.T) {
	r, err := Tar(OddEntries()...)()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	kinds := map[byte]int{}
	xattrs := 0
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kinds[h.Typeflag]++
		for k := range h.PAXRecords {
			if strings.HasPrefix(k, "SCHILY.xattr.") {
				xattrs++
			}
		}
	}
	want := map[byte]int{tar.TypeReg: 13, tar.TypeDir: 2, tar.TypeLink: 2, tar.TypeSymlink: 1, tar.TypeFifo: 1}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("entries by type (-want +got):\n%s", diff)
	}
	if xattrs != 2 {
		t.Errorf("%d extended attributes survive, want 2", xattrs)
	}
}

// images is every kind of image that needs nothing from the machine.
func images(t *testing.T) map[string]remote.Taggable {
	t.Helper()
	must := func(img v1.Image, err error) v1.Image {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	made := map[string]remote.Taggable{"random": must(Random(1, 3, 1<<20)), "layered": must(Layered(1, 60, Gzip))}
	for _, enc := range []Encoding{Plain, Gzip, Zstd} {
		l, err := NewLayer(enc, Tar(OddEntries()...))
		if err != nil {
			t.Fatal(err)
		}
		made["odd-"+string(enc)] = must(Assemble(OCI, Config{}, l))
		if enc != Zstd {
			made["docker-"+string(enc)] = must(Assemble(Docker, Config{}, l))
		}
	}
	arm := must(Assemble(OCI, Config{Architecture: "arm64", Labels: map[string]string{"for": "arm64"}}))
	index, err := Index(OCI, made["random"].(v1.Image), arm)
	if err != nil {
		t.Fatal(err)
	}
	made["index"] = index
	return made
}

func TestPushedContentIsWholeAndListed(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	for kind, content := range images(t) {
		ref := strings.TrimPrefix(server.URL, "http://") + "/test/" + kind + ":v1"
		if err := Push(context.Background(), ref, content); err != nil {
			t.Fatal(err)
		}
		items, err := Items(content)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			kindPath := "/blobs/"
			if item.Manifest {
				kindPath = "/manifests/"
			}
			resp, err := server.Client().Get(server.URL + "/v2/test/" + kind + kindPath + item.Digest.String())
			if err != nil {
				t.Fatal(err)
			}
			got, size, err := v1.SHA256(resp.Body)
			resp.Body.Close()
			if err != nil || got != item.Digest || size != item.Size {
				t.Errorf("%s: %s of %d bytes came back as %s of %d: %v", kind, item.Digest, item.Size, got, size, err)
			}
		}
	}
}

func TestDockerMediaTypesCannotNameZstd(t *testing.T) {
	l, err := NewLayer(Zstd, Tar(Dir("a", 0o755)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Assemble(Docker, Config{}, l); err == nil {
		t.Error("a zstd layer was accepted")
	}
	plain, err := NewLayer(Gzip, Tar(Dir("a", 0o755)))
	if err != nil {
		t.Fatal(err)
	}
	img, err := Assemble(Docker, Config{}, plain)
	if err != nil {
		t.Fatal(err)
	}
	if mt, _ := img.MediaType(); mt != types.DockerManifestSchema2 {
		t.Errorf("media type %s", mt)
	}
}

func TestArtifactOfTinyBlobs(t *testing.T) {
	var blobs []v1.Layer
	for size := range int64(2) {
		b, err := RandomBlob(1, size)
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, b)
	}
	img, err := Assemble(OCI, Config{}, blobs...)
	if err != nil {
		t.Fatal(err)
	}
	items, err := Items(img)
	if err != nil {
		t.Fatal(err)
	}
	if items[2].Size != 0 || items[3].Size != 1 {
		t.Errorf("sizes %d and %d", items[2].Size, items[3].Size)
	}
}

func TestTreeHasEveryFileOnceAndIsTheSameEachTime(t *testing.T) {
	root := t.TempDir()
	for _, f := range []string{"a/1", "a/2", "b/3", "top"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, f)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, f), []byte(f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cuts := [][]string{{"a/"}, {""}}
	img, err := Tree(root, "x", cuts, Gzip)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Tree(root, "x", cuts, Gzip)
	if err != nil {
		t.Fatal(err)
	}
	if digestOf(t, img) != digestOf(t, again) {
		t.Error("two builds differ")
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range layers {
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for tr := tar.NewReader(r); ; {
			h, err := tr.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, h.Name)
		}
		r.Close()
		names = append(names, "|")
	}
	want := "x/a/1 x/a/2 | x/a/ x/b/ x/b/3 x/top |"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("entries %q, want %q", got, want)
	}
}
