package pull

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// Image is one platform's image: what its manifest and its config say.
type Image struct {
	// Source is how its blobs are had, with the credentials that proved good.
	Source   distribution.Source
	Manifest chunk.Digest
	ConfigID chunk.Digest
	Layers   []v1.Descriptor
	Config   *v1.ConfigFile
	// Documents are what was read on the way, all of it in the store: the indexes
	// from the one that the name stands for on, the manifest, and the config.
	Documents []v1.Descriptor
}

// Image reads the manifest and the config of one platform's image, and brings
// nothing else in.
func (p *Puller) Image(ctx context.Context, r Request) (*Image, error) {
	w, root, err := p.begin(ctx, r, func(Event) {})
	if err != nil {
		return nil, err
	}
	image, err := w.descend(ctx, root, 0)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.Image, advised(err))
	}
	slices.Reverse(image.Documents)
	image.Source = w.src
	if w.own.Load() {
		image.Source = asNode(w.src)
	}
	return image, nil
}

// descend follows indexes to the platform's manifest.
func (w *walk) descend(ctx context.Context, d chunk.Digest, depth int) (*Image, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("its indexes lie more than %d deep", maxDepth)
	}
	body, err := w.read(ctx, d, true)
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d, err)
	}
	if index, err := v1.ParseIndexManifest(bytes.NewReader(body)); err == nil && len(index.Manifests) > 0 {
		chosen, err := w.platforms.choose(index)
		if err != nil {
			return nil, err
		}
		if len(chosen) != 1 {
			return nil, fmt.Errorf("one platform is needed, %d were named", len(chosen))
		}
		next, err := digestOf(chosen[0])
		if err != nil {
			return nil, err
		}
		image, err := w.descend(ctx, next, depth+1)
		if err == nil {
			image.Documents = append(image.Documents, document(d, body, index.MediaType, types.OCIImageIndex))
		}
		return image, err
	}
	manifest, err := v1.ParseManifest(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", d, err)
	}
	image, err := w.configured(ctx, d, manifest)
	if err == nil {
		image.Documents = append(image.Documents, document(d, body, manifest.MediaType, types.OCIManifestSchema1))
	}
	return image, err
}

// document describes what was read; one that does not say what it is, is OCI's.
func document(d chunk.Digest, body []byte, said, otherwise types.MediaType) v1.Descriptor {
	if said == "" {
		said = otherwise
	}
	return v1.Descriptor{MediaType: said, Size: int64(len(body)), Digest: v1.Hash{Algorithm: "sha256", Hex: d.Hex()}}
}

// configured reads the config beside a manifest.
func (w *walk) configured(ctx context.Context, d chunk.Digest, manifest *v1.Manifest) (*Image, error) {
	config, err := digestOf(manifest.Config)
	if err != nil {
		return nil, err
	}
	body, err := w.read(ctx, config, false)
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", config, err)
	}
	file, err := v1.ParseConfigFile(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("config %s: %w", config, err)
	}
	return &Image{
		Manifest: d, ConfigID: config, Layers: manifest.Layers, Config: file,
		Documents: []v1.Descriptor{document(config, body, manifest.Config.MediaType, types.OCIConfigJSON)},
	}, nil
}
