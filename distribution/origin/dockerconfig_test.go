package origin

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/shoal-project/shoal/distribution"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestUsualConfigPlaces(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("DOCKER_CONFIG", "")
	t.Setenv("REGISTRY_AUTH_FILE", "")
	t.Setenv("XDG_RUNTIME_DIR", "")
	if got := usualConfig(); got != "" {
		t.Errorf("found %s in an empty home", got)
	}
	podman := filepath.Join(dir, ".config/containers/auth.json")
	writeFile(t, podman, `{"auths":{"docker.io":{"auth":"dXNlcjpzZWNyZXQ="}}}`)
	docker := filepath.Join(dir, ".docker/config.json")
	for range 2 {
		a, err := dockerConfig{"default"}.ResolveContext(context.Background(), registryName("docker.io"))
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := authn.Authorization(context.Background(), a)
		if err != nil || cfg.Username != "user" || cfg.Password != "secret" {
			t.Errorf("got %v, %v", cfg, err)
		}
		writeFile(t, docker, `{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpzZWNyZXQ="}}}`)
	}
	if got := usualConfig(); got != docker {
		t.Errorf("found %s, want %s", got, docker)
	}
	a, err := dockerConfig{"default"}.ResolveContext(context.Background(), registryName("quay.io"))
	if err != nil || a != authn.Anonymous {
		t.Errorf("a registry without an entry: %v, %v", a, err)
	}
}

// TestBrokenHelper: what a helper printed stays out of errors, and nothing is
// tried again.
func TestBrokenHelper(t *testing.T) {
	r := newTokenRegistry(t, content(10), 100)
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "docker-credential-broken"), "#!/bin/sh\necho my-secret\nexit 1\n")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for _, helper := range []string{"broken", "missing", "../broken"} {
		cfg := testConfig(r.Server)
		cfg.DockerConfig = filepath.Join(dir, "config.json")
		writeFile(t, cfg.DockerConfig, `{"credsStore":"`+helper+`"}`)
		src := sourceOf(r.Server, r.data)
		src.Authorization = distribution.NodeCredentials
		_, err := newClient(t, cfg).Open(context.Background(), src)
		if err == nil || strings.Contains(err.Error(), "my-secret") || !strings.Contains(err.Error(), "helper") && !strings.Contains(err.Error(), "docker-credential-") {
			t.Errorf("%s: got %v", helper, err)
		}
	}
}
