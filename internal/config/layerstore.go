package config

import (
	"errors"
	"time"
)

// LayerStore shows single layers to podman and CRI-O: layerstore.Config, whose
// package is for Linux only.
type LayerStore struct {
	Enabled  bool          `mapstructure:"enabled"`
	Patience time.Duration `mapstructure:"patience"`
	Idle     time.Duration `mapstructure:"idle"`
	Recount  time.Duration `mapstructure:"recount"`
}

// DefaultLayerStore is fit for a node.
func DefaultLayerStore() LayerStore {
	return LayerStore{Enabled: true, Patience: 30 * time.Second, Idle: 5 * time.Minute, Recount: time.Hour}
}

// Validate reports every problem at once.
func (l LayerStore) Validate() error {
	return errors.Join(
		within("patience", l.Patience, time.Second, time.Hour),
		within("idle", l.Idle, time.Second, 30*24*time.Hour),
		within("recount", l.Recount, time.Second, 30*24*time.Hour),
	)
}
