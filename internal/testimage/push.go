package testimage

import (
	"context"
	"fmt"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Push writes an image (v1.Image) or an index (v1.ImageIndex) with all that it
// names to a registry, without TLS.
func Push(ctx context.Context, ref string, content remote.Taggable, options ...remote.Option) error {
	parsed, err := name.ParseReference(ref, name.Insecure)
	if err != nil {
		return err
	}
	options = append([]remote.Option{remote.WithContext(ctx)}, options...)
	switch t := content.(type) {
	case v1.Image:
		err = remote.Write(parsed, t, options...)
	case v1.ImageIndex:
		err = remote.WriteIndex(parsed, t, options...)
	default:
		err = fmt.Errorf("neither an image nor an index: %T", content)
	}
	if err != nil {
		return fmt.Errorf("pushing %s: %w", ref, err)
	}
	return nil
}

// Item is one digest that a whole pull of an image transfers.
type Item struct {
	v1.Descriptor
	// Manifest tells an image manifest or an index from a blob.
	Manifest bool
}

// Items lists every manifest and blob of an image or index once, the named one
// first, then in the order of the manifests.
func Items(content remote.Taggable) ([]Item, error) {
	seen := map[v1.Hash]bool{}
	switch t := content.(type) {
	case v1.Image:
		return imageItems(t, seen)
	case v1.ImageIndex:
		return indexItems(t, seen)
	}
	return nil, fmt.Errorf("neither an image nor an index: %T", content)
}

// BlobBytes is the sum of the sizes of the blobs, each counted once.
func BlobBytes(content remote.Taggable) (int64, error) {
	items, err := Items(content)
	var sum int64
	for _, item := range items {
		if !item.Manifest {
			sum += item.Size
		}
	}
	return sum, err
}

type describable interface {
	Digest() (v1.Hash, error)
	Size() (int64, error)
	MediaType() (types.MediaType, error)
}

func describe(d describable) (Item, error) {
	item := Item{Manifest: true}
	var err error
	if item.Digest, err = d.Digest(); err != nil {
		return item, err
	}
	if item.Size, err = d.Size(); err != nil {
		return item, err
	}
	item.MediaType, err = d.MediaType()
	return item, err
}

func imageItems(img v1.Image, seen map[v1.Hash]bool) ([]Item, error) {
	top, err := describe(img)
	if err != nil {
		return nil, err
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	items := []Item{top}
	for _, d := range append([]v1.Descriptor{manifest.Config}, manifest.Layers...) {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			items = append(items, Item{Descriptor: d})
		}
	}
	return items, nil
}

func indexItems(index v1.ImageIndex, seen map[v1.Hash]bool) ([]Item, error) {
	top, err := describe(index)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	items := []Item{top}
	for _, d := range manifest.Manifests {
		img, err := index.Image(d.Digest)
		if err != nil {
			return nil, err
		}
		more, err := imageItems(img, seen)
		if err != nil {
			return nil, err
		}
		items = append(items, more...)
	}
	return items, nil
}
