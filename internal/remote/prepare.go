package remote

import (
	"context"

	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/internal/pull"
)

// Prepare has the tree of an image derived where the images' registries are
// asked from, and nothing brought anywhere.
func Prepare(ctx context.Context, images *pull.Puller, trees distribution.Deriver, r pull.Request) error {
	found, err := images.Image(ctx, r)
	if err != nil {
		return err
	}
	layers, err := layersOf(found)
	if err != nil {
		return err
	}
	_, err = trees(ctx, found.Source, distribution.View{Layers: layers}, func(int64, int64) {})
	return err
}
