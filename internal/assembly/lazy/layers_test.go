//go:build linux

package lazy

import (
	"reflect"
	"testing"

	"github.com/shoal-project/shoal/fuse/layerstore"
	"github.com/shoal-project/shoal/internal/config"
)

func TestLayerStoreDefaults(t *testing.T) {
	got := layerStoreConfig(config.DefaultLazyfs(), nil)
	got.Dir, got.Mount = "", ""
	if want := layerstore.Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, not %+v", got, want)
	}
}
