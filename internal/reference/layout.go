package reference

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// tag is what the image of a layout is called.
const tag = "image"

// writeLayout writes an OCI layout with the one image.
func writeLayout(dir string, img v1.Image) error {
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("write an OCI layout: %w", err)
	}
	name := map[string]string{"org.opencontainers.image.ref.name": tag}
	if err := path.AppendImage(img, layout.WithAnnotations(name)); err != nil {
		return fmt.Errorf("write an image into an OCI layout: %w", err)
	}
	return nil
}

// Umoci unpacks an image below work, which is empty, and gives the tree's root.
func Umoci(ctx context.Context, work string, img v1.Image) (string, error) {
	oci, root := filepath.Join(work, "oci"), filepath.Join(work, "root")
	if err := writeLayout(oci, img); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "umoci", "raw", "unpack", "--image", oci+":"+tag, root).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("umoci raw unpack: %w: %s", err, tail(out))
	}
	return root, nil
}

// tail is the end of a program's complaint.
func tail(out []byte) []byte { return out[max(0, len(out)-500):] }
