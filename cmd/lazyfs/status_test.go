//go:build linux

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/internal/lazyfs"
)

// The name of an image, which is long, does not widen the column of what is said
// of it.
func TestStatusIsNarrow(t *testing.T) {
	name := "registry.example.com:5000/team/app:v1@sha256:" + strings.Repeat("0", 64)
	var out strings.Builder
	status := lazyfs.Status{Images: []lazyfs.ImageStatus{{Reference: name, State: lazyfs.StateComplete, Users: []string{"1"}, Native: true}}}
	if err := printStatus(&out, status, true, time.Now()); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if text, ok := strings.CutPrefix(line, "  held"); ok && text != "      by 1 snapshots or layers; what starts now is native\n" {
			t.Errorf("%q", line)
		}
	}
	if !strings.Contains(out.String(), "\n  held ") {
		t.Error(out.String())
	}
}

// Layers that podman holds are told apart, though all are of one image.
func TestALayerIsNamed(t *testing.T) {
	layer := chunk.SumBytes([]byte("layer"))
	for l, want := range map[*chunk.Digest]string{nil: "", &layer: " layer " + layer.Hex()[:12]} {
		if got := layerText(lazyfs.ImageStatus{Layer: l}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
