//go:build linux

package lazyfs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/fuse/layerstore"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// registryOf is a peer that knows one image of two layers.
type registryOf struct {
	*world
	found nodeapi.Found
}

func newRegistry(w *world) *registryOf {
	toc := chunk.SumBytes([]byte("toc"))
	return &registryOf{w, nodeapi.Found{
		Registry: "r", Repository: "app", DiffIDs: layers(2),
		Layers: []nodeapi.Layer{
			{Digest: chunk.SumBytes([]byte("one")), Size: 3},
			{Digest: chunk.SumBytes(w.objects[0]), Size: int64(len(w.objects[0])), TOC: &toc, MediaType: "x+gzip"},
		},
	}}
}

func (r *registryOf) Find(context.Context, nodeapi.FindRequest) (*nodeapi.Found, error) {
	return &r.found, nil
}

// Blob has the first object's bytes in the store.
func (r *registryOf) Blob(ctx context.Context, b nodeapi.BlobRequest, _ func(done, total int64), use func() error) error {
	size := int64(len(r.objects[0]))
	if _, err := r.peer.Fetch(ctx, nodeapi.FetchRequest{Object: b.Digest, Size: size, Length: size}); err != nil {
		return err
	}
	return use()
}

func TestLayerOfAnImage(t *testing.T) {
	w := newWorld(t, 6<<20, 40<<10)
	w.start(false)
	registry := newRegistry(w)
	all := w.daemon.Layers(registry)
	top := registry.found.Layers[1]
	byTOC, err := all.Find(t.Context(), "r/app:1", *top.TOC)
	if err != nil {
		t.Fatal(err)
	}
	found, err := all.Find(t.Context(), "r/app:1", top.Digest)
	if err != nil || found.Digest != byTOC.Digest || found.DiffID != registry.found.DiffIDs[1] || found.Size != top.Size || found.TOC != top.TOC {
		t.Fatalf("%+v, %v", found, err)
	}
	var known nodeapi.Image
	if err := json.Unmarshal(found.Known, &known); err != nil || known.Registry != "r" || len(known.Layers) != 2 || !slices.Equal(known.DiffIDs, registry.found.DiffIDs) {
		t.Errorf("known is %+v, %v", known, err)
	}
	if _, err := all.Find(t.Context(), "r/app:1", chunk.SumBytes([]byte("none"))); !errors.Is(err, layerstore.ErrUnknown) {
		t.Errorf("what is not there: %v", err)
	}
	w.image.Plain = 777
	w.image.Layer = &top.Digest
	if plain, err := all.Hold(t.Context(), "layer", found); err != nil || plain != 777 {
		t.Fatalf("%d plain bytes, %v", plain, err)
	}
	w.same(w.lower("layer"), 1, 0, 40<<10)
	w.halt()
	w.start(false)
	all = w.daemon.Layers(registry)
	if users := all.Users(); !slices.Equal(users, []string{"layer"}) {
		t.Errorf("after a restart held are %q", users)
	}
	w.same(w.lower("layer"), 1, 0, 40<<10)
	if err := all.Release(t.Context(), "layer"); err != nil || len(all.Users()) > 0 {
		t.Errorf("released: %v, held are %q", err, all.Users())
	}
}

func TestBlobOfALayer(t *testing.T) {
	w := newWorld(t, 6<<20)
	w.start(false)
	if err := w.daemon.learnStore(t.Context()); err != nil {
		t.Fatal(err)
	}
	registry := newRegistry(w)
	top := registry.found.Layers[1]
	blob, err := w.daemon.Layers(registry).Blob(t.Context(), &layerstore.Layer{Reference: "r/app:1", Digest: top.Digest, Size: top.Size})
	if err != nil {
		t.Fatal(err)
	}
	defer blob.Close()
	bytes, err := io.ReadAll(io.NewSectionReader(blob, 0, top.Size))
	if err != nil || chunk.SumBytes(bytes) != top.Digest {
		t.Errorf("%d bytes of something else, %v", len(bytes), err)
	}
}
