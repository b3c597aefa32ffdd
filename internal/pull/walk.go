package pull

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// walk is one pull: the tree of manifests, then the blobs under them.
type walk struct {
	*Puller
	src       distribution.Source
	platforms platforms
	image     string
	tell      func(Event)

	own   atomic.Bool // the node's own credentials are needed
	seen  map[chunk.Digest]bool
	blobs []Object

	mu      sync.Mutex
	running map[chunk.Digest]Object // being fetched, as last told
}

// manifest takes one manifest and everything under it.
func (w *walk) manifest(ctx context.Context, d chunk.Digest, depth int) error {
	if w.seen[d] {
		return nil
	}
	if depth > maxDepth {
		return fmt.Errorf("its indexes lie more than %d deep", maxDepth)
	}
	w.seen[d] = true
	body, err := w.read(ctx, d, true)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d, err)
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(body))
	if err == nil && len(index.Manifests) > 0 {
		return w.index(ctx, index, depth)
	}
	image, err := v1.ParseManifest(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d, err)
	}
	if err := w.blob(image.Config, "config"); err != nil {
		return err
	}
	for _, layer := range image.Layers {
		if err := w.blob(layer, "layer"); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) index(ctx context.Context, index *v1.IndexManifest, depth int) error {
	chosen, err := w.platforms.choose(index)
	if err != nil {
		return err
	}
	for _, descriptor := range chosen {
		d, err := digestOf(descriptor)
		if err != nil {
			return err
		}
		if err := w.manifest(ctx, d, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) blob(descriptor v1.Descriptor, kind string) error {
	if !descriptor.MediaType.IsDistributable() && len(descriptor.URLs) > 0 {
		w.tell(Event{Image: w.image, Notice: "leaving out foreign layer " + descriptor.Digest.String()})
		return nil
	}
	d, err := digestOf(descriptor)
	if err != nil || w.seen[d] {
		return err
	}
	w.seen[d] = true
	if len(w.seen) > maxObjects {
		return fmt.Errorf("it names more than %d objects", maxObjects)
	}
	w.blobs = append(w.blobs, Object{Digest: d, Kind: kind, Size: descriptor.Size})
	return nil
}

// digestOf is a descriptor's digest.
func digestOf(descriptor v1.Descriptor) (chunk.Digest, error) {
	raw, err := hex.DecodeString(descriptor.Digest.Hex)
	if err != nil || descriptor.Digest.Algorithm != "sha256" || len(raw) != sha256.Size {
		return chunk.Digest{}, fmt.Errorf("digest %s is not sha256; pull this image without Shoal", descriptor.Digest)
	}
	return chunk.Digest(raw), nil
}

// read brings a manifest or a config in and gives its bytes.
func (w *walk) read(ctx context.Context, d chunk.Digest, manifest bool) ([]byte, error) {
	kind := "config"
	if manifest {
		kind = "manifest"
	}
	src := w.src
	src.Digest, src.Manifest = d, manifest
	reader, err := w.open(ctx, src)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	if reader.Size() > maxManifest {
		return nil, fmt.Errorf("it has %d bytes; a %s has at most %d", reader.Size(), kind, maxManifest)
	}
	if err := reader.Wait(ctx); err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if _, err := reader.CopyRange(ctx, &body, 0, reader.Size()); err != nil {
		return nil, err
	}
	w.tell(Event{Image: w.image, Objects: []Object{w.now(Object{Digest: d, Kind: kind, Size: reader.Size(), Done: true})}})
	return body.Bytes(), nil
}

// now completes an object with where its bytes came from.
func (w *walk) now(o Object) Object {
	if w.Sources != nil {
		o.Bytes = w.Sources(o.Digest)
	}
	return o
}
