//go:build linux

package layer

import (
	"flag"
	"io"
	"testing"

	"github.com/shoal-project/shoal/internal/testimage"
)

var realImages = flag.Bool("real", false, "compare real images, which are fetched by apt-get or are the Go toolchain's tree")

// packages have many small files, large ones, hard links and set-user-id bits.
var packages = []string{"base-files", "libc6", "perl-base", "mount", "tzdata", "git", "libpython3.11-stdlib", "python3.11-minimal"}

func TestRealImagesAreTheSameTree(t *testing.T) {
	if !*realImages {
		t.Skip("SKIP: no -args -real: fetches packages")
	}
	refs := newReferences(t, true)
	debian, err := testimage.Debian(t.Context(), t.TempDir(), packages...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []testimage.Case{debian, goCase(t)} {
		t.Run(c.Name, func(t *testing.T) {
			ours, err := merged(t, c.Layers)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d entries in %d layers", len(ours), len(c.Layers))
			refs.compare(t, c, ours)
		})
	}
}

// goCase is the toolchain's tree as a case.
func goCase(t *testing.T) testimage.Case {
	t.Helper()
	img, err := testimage.GoTree(t.Context(), testimage.Plain)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	c := testimage.Case{Name: "Go tree"}
	for _, l := range layers {
		c.Layers = append(c.Layers, func() (io.ReadCloser, error) { return l.Uncompressed() })
	}
	return c
}
