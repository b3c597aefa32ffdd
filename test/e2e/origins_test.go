//go:build e2e && linux

package e2e

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/testregistry"
)

// The one user of the private registry.
const (
	userName = "ann"
	password = "correct horse"
)

// origins are a registry that is open to all and one that is not.
type origins struct {
	public, private *testregistry.Debian
}

func startOrigins(t *testing.T) origins {
	t.Helper()
	return origins{
		public:  startRegistry(t, testregistry.Options{}),
		private: startRegistry(t, testregistry.Options{Users: map[string]string{userName: password}}),
	}
}

func (o origins) reach() registries {
	return registries{hosts: []string{o.public.Host(), o.private.Host()}, hub: o.public.Host()}
}

func startRegistry(t *testing.T, options testregistry.Options) *testregistry.Debian {
	t.Helper()
	options.Dir = directory(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := testregistry.StartDebian(ctx, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// push writes an image to both registries.
func (o origins) push(t *testing.T, repository string, content remote.Taggable) {
	t.Helper()
	auth := remote.WithAuth(&authn.Basic{Username: userName, Password: password})
	if err := errorsOf(
		testimage.Push(t.Context(), o.public.Host()+"/"+repository, content),
		testimage.Push(t.Context(), o.private.Host()+"/"+repository, content, auth),
	); err != nil {
		t.Fatal(err)
	}
}

// bootable is an image that runs; each label is another image.
func bootable(t *testing.T, family testimage.Family, enc testimage.Encoding, label string) v1.Image {
	t.Helper()
	config := testimage.Config{Labels: map[string]string{"test": label}}
	cache := filepath.Join(filepath.Dir(directory(t)), "deb")
	return must(testimage.Bootable(t.Context(), cache, family, enc, config))(t)
}

// must unwraps what cannot fail in a sound test.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func items(t testing.TB, content remote.Taggable) []testimage.Item {
	t.Helper()
	return must(testimage.Items(content))(t)
}

func digestOf(t testing.TB, content interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	return must(content.Digest())(t).String()
}
