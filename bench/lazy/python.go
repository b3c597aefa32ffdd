//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/testimage"
)

// pythonPackages are what the Python image is asked to have; apt adds what they
// depend on.
var pythonPackages = []string{"base-files", "bash", "coreutils", "python3", "openssl", "ca-certificates"}

// updated is the package that the second version of the image has newer.
const updated = "libssl3"

// python is Debian's Python in two layers, the system and Python itself, as the
// mirror has it today. The first version has an older package [updated], where
// the mirror still has one.
func (w *workshop) python(ctx context.Context, newest bool) (v1.Image, error) {
	packages, err := w.downloadAll(ctx)
	if err != nil {
		return nil, err
	}
	if !newest {
		older, err := w.downloadOlder(ctx, updated)
		if err != nil {
			return nil, err
		}
		for i, file := range packages {
			if strings.HasPrefix(filepath.Base(file), updated+"_") {
				packages[i] = older
			}
		}
	}
	roots := [2]string{}
	for i := range roots {
		if roots[i], err = os.MkdirTemp(w.tmp, "root"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(roots[i])
	}
	for _, file := range packages {
		root := roots[0]
		if strings.Contains(filepath.Base(file), "python") {
			root = roots[1]
		}
		if _, err := command(ctx, "", "dpkg-deb", "-x", file, root); err != nil {
			return nil, err
		}
	}
	return directories(roots[:])
}

// directories is an image with a layer of each directory, which must outlive
// nothing: layers are read from them now.
func directories(roots []string) (v1.Image, error) {
	var layers []v1.Layer
	for _, root := range roots {
		img, err := testimage.Tree(root, "", [][]string{{""}}, testimage.Gzip)
		if err != nil {
			return nil, err
		}
		more, err := img.Layers()
		if err != nil {
			return nil, err
		}
		layers = append(layers, more...)
	}
	return testimage.Assemble(testimage.OCI, testimage.Config{}, layers...)
}

// downloadAll gets the packages with all that they need on an empty machine.
func (w *workshop) downloadAll(ctx context.Context) ([]string, error) {
	dir := filepath.Join(w.tmp, "packages")
	status := filepath.Join(w.tmp, "status")
	err := errors.Join(os.MkdirAll(filepath.Join(dir, "partial"), 0o755), os.WriteFile(status, nil, 0o644))
	if err != nil {
		return nil, err
	}
	args := []string{"-y", "-q", "--download-only", "-o", "Dir::State::status=" + status, "-o", "Dir::Cache::archives=" + dir,
		"-o", "Debug::NoLocking=1", "-o", "APT::Install-Recommends=false", "-o", "APT::Sandbox::User=root", "install"}
	if _, err := command(ctx, "", "apt-get", append(args, pythonPackages...)...); err != nil {
		return nil, err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err == nil && len(found) < len(pythonPackages) {
		err = fmt.Errorf("apt-get left only %d packages", len(found))
	}
	return found, err
}

// downloadOlder gets the second newest version of a package, or the only one.
func (w *workshop) downloadOlder(ctx context.Context, name string) (string, error) {
	table, err := command(ctx, "", "apt-cache", "madison", name)
	if err != nil {
		return "", err
	}
	var versions []string
	for line := range strings.Lines(table) {
		if fields := strings.Split(line, "|"); len(fields) == 3 {
			versions = append(versions, strings.TrimSpace(fields[1]))
		}
	}
	if len(versions) == 0 {
		return "", fmt.Errorf("apt knows no version of %s; run apt-get update", name)
	}
	dir, err := os.MkdirTemp(w.tmp, "older")
	if err != nil {
		return "", err
	}
	if _, err := command(ctx, dir, "apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", name+"="+versions[min(1, len(versions)-1)]); err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(found) != 1 {
		return "", errors.Join(err, fmt.Errorf("apt-get download %s left %d packages", name, len(found)))
	}
	return found[0], nil
}

// command runs a program to its end and returns what it printed.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var trouble bytes.Buffer
	cmd.Stderr = &trouble
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, args[0], err, bytes.TrimSpace(trouble.Bytes()))
	}
	return string(out), nil
}
