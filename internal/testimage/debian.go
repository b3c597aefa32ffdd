package testimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Debian is an image of Debian packages, each one layer, stored as the package's
// own archive has it. It fetches them into dir by apt-get; what is there already
// is not fetched again.
func Debian(ctx context.Context, dir string, packages ...string) (Case, error) {
	c := Case{Name: "Debian packages"}
	for _, name := range packages {
		file, err := fetchPackage(ctx, dir, name)
		if err != nil {
			return c, fmt.Errorf("get the Debian package %s: %w", name, err)
		}
		c.Layers = append(c.Layers, packageTar(ctx, file))
	}
	return c, nil
}

func fetchPackage(ctx context.Context, dir, name string) (string, error) {
	pattern := filepath.Join(dir, name+"_*.deb")
	if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
		return found[0], nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	download := exec.CommandContext(ctx, "apt-get", "download", "-q", name)
	download.Dir = dir
	if out, err := download.CombinedOutput(); err != nil {
		return "", fmt.Errorf("apt-get download: %w: %s", err, bytes.TrimSpace(out))
	}
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		return "", errors.Join(err, errors.New("apt-get download left no package"))
	}
	return found[0], nil
}

// packageTar is the archive in a package.
func packageTar(ctx context.Context, file string) Source {
	return produced(func(w io.Writer) error {
		cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", file)
		cmd.Stdout = w
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("dpkg-deb of %s: %w", file, err)
		}
		return nil
	})
}
