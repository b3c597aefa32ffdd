package image

import (
	"archive/tar"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestPushedImageIsWhole(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	img, err := Make(Spec{Layers: 3, LayerBytes: 1 << 20, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	if err := img.Push(t.Context(), host, "bench/a", "one", http.DefaultTransport); err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(host + "/bench/a:one")
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := pulled.Layers()
	if err != nil || len(layers) != 3 {
		t.Fatalf("%d layers, %v; want 3", len(layers), err)
	}
	for i, l := range layers {
		blob, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		digest, size, err := v1.SHA256(blob)
		if err != nil || digest.String() != img.Layers()[i] || size != 1<<20 {
			t.Errorf("layer %d came as %s of %d bytes, %v; made %s", i, digest, size, err, img.Layers()[i])
		}
	}
	if digest, _ := pulled.Digest(); digest.String() != img.Digests()[0] {
		t.Errorf("pulled %s, made %s", digest, img.Digests()[0])
	}
}

func TestLayersAreTarsOfTheSizeAskedFor(t *testing.T) {
	l, err := newLayer(1, 0, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(l.reader())
	header, err := archive.Next()
	if err != nil || header.Size != 64<<10-tarBlock-tarTrailer {
		t.Fatalf("first entry %+v, %v", header, err)
	}
	if _, err := archive.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the only entry: %v", err)
	}
	if tiny, err := newLayer(1, 0, 1<<10); err != nil || tiny.size != 1<<10 {
		t.Errorf("a layer too small for a tar: %v", err)
	}
	if _, err := newLayer(1, 0, 5000); err == nil {
		t.Error("a size that no tar can have was taken")
	}
}

func TestSeedsShareNothingAndRepeat(t *testing.T) {
	made := make([]*Image, 3)
	for i, seed := range []uint64{1, 2, 1} {
		img, err := Make(Spec{Layers: 2, LayerBytes: 8 << 10, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		made[i] = img
	}
	for _, digest := range made[0].Digests() {
		if slices.Contains(made[1].Digests(), digest) {
			t.Errorf("%s is in images of two seeds", digest)
		}
	}
	if !slices.Equal(made[0].Digests(), made[2].Digests()) {
		t.Error("one seed gave two images")
	}
	if made[0].Layers()[0] == made[0].Layers()[1] {
		t.Error("two layers of one image are the same")
	}
}
