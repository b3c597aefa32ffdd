//go:build linux

package reference

import (
	"os"
	"os/exec"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/testimage"
)

func image(t *testing.T) v1.Image {
	t.Helper()
	below, err := testimage.NewLayer(testimage.Gzip, testimage.Tar(testimage.File("gone", 0o644, nil), testimage.File("f", 0o644, []byte("content"))))
	if err != nil {
		t.Fatal(err)
	}
	above, err := testimage.NewLayer(testimage.Plain, testimage.Tar(testimage.Whiteout("gone")))
	if err != nil {
		t.Fatal(err)
	}
	img, err := testimage.Assemble(testimage.OCI, testimage.Config{}, below, above)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIP: unpacking owners needs root")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("SKIP: %s is not here", p)
		}
	}
}

func check(t *testing.T, root string) {
	t.Helper()
	if p, err := os.ReadFile(root + "/f"); err != nil || string(p) != "content" {
		t.Errorf("f holds %q, %v", p, err)
	}
	if _, err := os.Lstat(root + "/gone"); !os.IsNotExist(err) {
		t.Errorf("what was removed is there: %v", err)
	}
}

func TestUmociUnpacks(t *testing.T) {
	needs(t, "umoci")
	root, err := Umoci(t.Context(), t.TempDir(), image(t))
	if err != nil {
		t.Fatal(err)
	}
	check(t, root)
}

func TestContainerdUnpacks(t *testing.T) {
	needs(t, "containerd", "ctr", "tar")
	dir, err := os.MkdirTemp("", "ref")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	c, err := StartContainerd(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	for range 2 {
		seen := false
		err := c.View(t.Context(), image(t), func(root string) error {
			seen = true
			check(t, root)
			return nil
		})
		if err != nil || !seen {
			t.Errorf("seen %v, %v", seen, err)
		}
	}
}
