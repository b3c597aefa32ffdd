//go:build linux

package lazy

import (
	"testing"

	"github.com/shoal-project/shoal/fuse"
	"github.com/shoal-project/shoal/internal/config"
	"github.com/shoal-project/shoal/internal/lazyfs/content"
)

// The settings' defaults are those of the packages that they set.
func TestLazyfsDefaults(t *testing.T) {
	got := lazyfsConfig(config.DefaultLazyfs(), Options{})
	if got.FUSE != fuse.Default() {
		t.Errorf("fuse: %+v, not %+v", got.FUSE, fuse.Default())
	}
	if got.Content != content.Default() {
		t.Errorf("content: %+v, not %+v", got.Content, content.Default())
	}
}
