//go:build linux

package lazy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/shoal-project/shoal/fuse/layerstore"
	"github.com/shoal-project/shoal/internal/config"
)

// runLayerStore shows single layers to podman and CRI-O until ctx ends, if that is
// wanted. It needs the images to be restored by now: it lets go of those that no
// layer shows.
func runLayerStore(ctx context.Context, cfg config.Lazyfs, guard []string, layers layerstore.Layers, log *slog.Logger) error {
	if !cfg.LayerStore.Enabled {
		<-ctx.Done()
		return nil
	}
	s, err := layerstore.New(layerStoreConfig(cfg, guard), layers, log)
	if err == nil {
		if err = s.Mount(); err == nil {
			<-ctx.Done()
			return s.Close()
		}
		err = errors.Join(err, s.Close())
	}
	return fmt.Errorf("the layer store: %w; set layer_store.enabled to false to do without", err)
}

func layerStoreConfig(cfg config.Lazyfs, guard []string) layerstore.Config {
	return layerstore.Config{
		Dir: filepath.Join(cfg.DataDir, "layers"), Mount: filepath.Join(cfg.RunDir, "layers"),
		Patience: cfg.LayerStore.Patience, Idle: cfg.LayerStore.Idle, Recount: cfg.LayerStore.Recount, Guard: guard,
	}
}
