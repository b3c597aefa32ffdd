//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/match"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/shoal-project/shoal/bench/reader"
	"github.com/shoal-project/shoal/internal/testimage"
)

// The images.
const (
	imagePython    = "python"
	imagePythonNew = "python-updated"
	imageGo        = "go"
	imageGoNew     = "go-changed"
	imageSmall     = "small" // many small files
	imageLarge     = "large" // one large file
	imagePlain     = "plain" // the same, not compressed: for curl
	imageMany      = "many"  // many entries
	imageMore      = "more"  // several small ones, numbered
	imagePause     = "pause" // of pods' first processes

	imageSmallShell = imageSmall + "-shell" // with programs to run
	imageLargeShell = imageLarge + "-shell"
)

// moreImages make ten with the images that take part in other workloads.
const moreImages = 3

// subject is an image that is in the registry.
type subject struct {
	name      string
	reference string
	size      int64 // of all that a pull transfers, as the registry has it
	layers    []v1.Hash
}

// annotation names an image in a layout.
const annotation = "org.opencontainers.image.ref.name"

// workshop makes images and keeps them in an OCI layout on the disk.
type workshop struct {
	layout layout.Path
	tmp    string
	quick  bool
	tell   func(format string, args ...any)
}

func newWorkshop(dir, tmp string, quick bool, tell func(string, ...any)) (*workshop, error) {
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.MkdirAll(tmp, 0o755)); err != nil {
		return nil, err
	}
	path, err := layout.FromPath(dir)
	if err != nil {
		path, err = layout.Write(dir, empty.Index)
	}
	return &workshop{layout: path, tmp: tmp, quick: quick, tell: tell}, err
}

// image is an image from the layout, made if it is not there.
func (w *workshop) image(ctx context.Context, name string) (v1.Image, error) {
	key := name
	if w.quick {
		key += "-quick"
	}
	found, err := w.find(key)
	if found != nil || err != nil {
		return found, err
	}
	start := time.Now()
	made, err := w.make(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("making the image %s: %w", name, err)
	}
	err = w.layout.AppendImage(made, layout.WithAnnotations(map[string]string{annotation: key}))
	if err != nil {
		return nil, fmt.Errorf("keeping the image %s: %w", name, err)
	}
	w.tell("made the image %s in %.1f s\n", name, time.Since(start).Seconds())
	return w.find(key)
}

func (w *workshop) find(key string) (v1.Image, error) {
	index, err := w.layout.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, d := range manifest.Manifests {
		if match.Annotation(annotation, key)(d) {
			return index.Image(d.Digest)
		}
	}
	return nil, nil
}

func (w *workshop) make(ctx context.Context, name string) (v1.Image, error) {
	switch name {
	case imagePython, imagePythonNew:
		return w.python(ctx, name == imagePythonNew)
	case imageGo, imageGoNew:
		return w.goTree(ctx, name == imageGoNew)
	case imageSmall:
		return w.small(smallFiles(w.quick), 1)
	case imageLarge:
		return w.large(testimage.Gzip)
	case imagePlain:
		return w.large(testimage.Plain)
	case imageMany:
		return w.many()
	case imagePause:
		return w.pause(ctx)
	case imageSmallShell, imageLargeShell:
		return w.withShell(ctx, strings.TrimSuffix(name, "-shell"))
	}
	var n uint64
	if _, err := fmt.Sscanf(name, imageMore+"%d", &n); err != nil {
		return nil, errors.New("there is no such image")
	}
	return w.small(2000, 100+n)
}

// push puts an image into the registry.
func push(ctx context.Context, img v1.Image, name, registry string, transport http.RoundTripper) (*subject, error) {
	s := &subject{name: name, reference: registry + "/bench/" + name + ":1"}
	if err := testimage.Push(ctx, s.reference, img, remote.WithTransport(transport)); err != nil {
		return nil, err
	}
	items, err := testimage.Items(img)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		s.size += item.Size
	}
	manifest, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	for _, l := range manifest.Layers {
		s.layers = append(s.layers, l.Digest)
	}
	return s, nil
}

// program is what shows that an image of a kind works, in its root.
func program(image string) reader.Job {
	if image == imagePython {
		return reader.Job{
			Kind: reader.Run, Command: []string{"/usr/bin/python3", "-c", "import json,ssl; print(1)"},
			Env: []string{"PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1"},
		}
	}
	return reader.Job{
		Kind: reader.Run, Dir: filepath.Dir(helloFile), Command: []string{"/usr/local/go/bin/go", "build", "-o", "/tmp/hello", "."},
		Env: []string{"PATH=/usr/local/go/bin", "HOME=/tmp", "GOCACHE=/tmp/cache", "GOPATH=/root/go", "GOROOT=/usr/local/go",
			"GOTOOLCHAIN=local", "GOPROXY=off", "GOTELEMETRY=off", "GOFLAGS=-mod=mod", "CGO_ENABLED=0"},
	}
}
