package pull

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/chunk"
)

func TestImageTellsHowItWasFound(t *testing.T) {
	d := serve(t)
	_, arm64 := d.multi(t)
	got, err := d.puller().Image(t.Context(), Request{Image: d.host + "/app:multi", Platforms: []string{"linux/arm64"}})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := arm64.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := arm64.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Documents) != 3 || !got.Documents[0].MediaType.IsIndex() || got.Documents[1].Digest != digest ||
		!got.Documents[1].MediaType.IsImage() || got.Documents[2].Digest != manifest.Config.Digest {
		t.Errorf("documents are %+v", got.Documents)
	}
	sizes := []int64{0, 0}
	for i, o := range got.Documents[1:] {
		sizes[i] = o.Size
	}
	size, err := arm64.Size()
	if diff := cmp.Diff([]int64{size, manifest.Config.Size}, sizes); diff != "" || err != nil {
		t.Errorf("sizes (-want +got)\n%s %v", diff, err)
	}
}

func TestBlob(t *testing.T) {
	for name, shut := range map[string]bool{"public": false, "with the node's own credentials": true} {
		d := serve(t)
		amd64, _ := d.multi(t)
		d.shut = shut
		layers, err := amd64.Layers()
		if err != nil {
			t.Fatal(err)
		}
		hash, err := layers[1].Digest()
		if err != nil {
			t.Fatal(err)
		}
		var told int64
		reader, err := d.puller().Blob(t.Context(), Request{Image: d.host + "/app:any"}, of(t, hash), false, func(done, _ int64) { told = done })
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if size, err := layers[1].Size(); err != nil || reader.Size() != size || told != size {
			t.Errorf("%s: %d bytes, told of %d, want %d", name, reader.Size(), told, size)
		}
	}
	d := serve(t)
	if _, err := d.puller().Blob(t.Context(), Request{Image: d.host + "/app"}, chunk.SumBytes(nil), false, func(int64, int64) {}); err == nil || !strings.Contains(err.Error(), "/app: ") {
		t.Errorf("a blob that is not there: %v", err)
	}
}

func of(t *testing.T, h v1.Hash) chunk.Digest {
	t.Helper()
	d, err := chunk.ParseDigest(h.String())
	if err != nil {
		t.Fatal(err)
	}
	return d
}
