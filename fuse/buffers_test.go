//go:build linux

package fuse

import (
	"testing"

	gofuse "github.com/hanwen/go-fuse/v2/fuse"
)

// The pinned go-fuse has its buffers where they are looked for.
func TestBuffersForRequestsAreFound(t *testing.T) {
	if !touchBuffers(&gofuse.Server{}) {
		t.Error("not found")
	}
}
