package image

import (
	"context"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Spec says what an image is made of. Two specs with different seeds have no
// layer in common.
type Spec struct {
	Layers     int
	LayerBytes int64
	Seed       uint64
}

// Bytes is the size of all layers.
func (s Spec) Bytes() int64 { return int64(s.Layers) * s.LayerBytes }

// Image is a made image.
type Image struct {
	spec   Spec
	image  v1.Image
	layers []string
	all    []string
}

// Make computes an image.
func Make(spec Spec) (*Image, error) {
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img := &Image{spec: spec}
	layers := make([]v1.Layer, spec.Layers)
	for i := range layers {
		l, err := newLayer(spec.Seed, i, spec.LayerBytes)
		if err != nil {
			return nil, err
		}
		layers[i] = l
		img.layers = append(img.layers, l.digest.String())
	}
	image, err := mutate.AppendLayers(base, layers...)
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	config, err := image.ConfigName()
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	manifest, err := image.Digest()
	if err != nil {
		return nil, fmt.Errorf("making an image: %w", err)
	}
	img.image = image
	img.all = append([]string{manifest.String(), config.String()}, img.layers...)
	return img, nil
}

// Bytes is the size of all layers.
func (m *Image) Bytes() int64 { return m.spec.Bytes() }

// Layers are the layers' digests.
func (m *Image) Layers() []string { return m.layers }

// Digests are those of the manifest, the config and the layers.
func (m *Image) Digests() []string { return m.all }

// Push sends the image to a plain-HTTP registry, through transport.
func (m *Image) Push(ctx context.Context, registry, repository, tag string, transport http.RoundTripper) error {
	ref, err := name.NewTag(registry+"/"+repository+":"+tag, name.Insecure)
	if err != nil {
		return fmt.Errorf("pushing an image: %w", err)
	}
	if err := remote.Write(ref, m.image, remote.WithContext(ctx), remote.WithTransport(transport)); err != nil {
		return fmt.Errorf("pushing %s: %w", ref, err)
	}
	return nil
}
