package pull

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// direct is a node without a swarm: every object is read from the registry.
type direct struct {
	host   string
	mu     sync.Mutex
	shut   bool // anonymous objects are refused
	opened map[chunk.Digest]bool
	auth   []string
}

func (d *direct) Forward(ctx context.Context, r distribution.Request) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, r.Method, "http://"+d.host+"/v2/"+r.Repository+"/"+r.Path, nil)
	if err != nil {
		return nil, err
	}
	request.Header = r.Header
	d.mu.Lock()
	d.auth = append(d.auth, r.Authorization)
	d.mu.Unlock()
	return http.DefaultClient.Do(request)
}

func (d *direct) Open(ctx context.Context, src distribution.Source) (distribution.Reader, error) {
	if d.shut && src.Authorization == "" {
		return nil, &distribution.OriginError{Status: http.StatusUnauthorized, Message: "who are you?"}
	}
	kind := "blobs/"
	if src.Manifest {
		kind = "manifests/"
	}
	response, err := d.Forward(ctx, distribution.Request{Method: http.MethodGet, Repository: src.Repository, Path: kind + src.Digest.String(), Authorization: src.Authorization})
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		return nil, errors.Join(&distribution.OriginError{Status: response.StatusCode, Message: "no"}, err)
	}
	d.mu.Lock()
	d.opened[src.Digest] = true
	d.mu.Unlock()
	return &whole{strings.NewReader(string(body))}, nil
}

func (d *direct) Holds(chunk.Digest) (int64, bool) { return 0, false }

type whole struct{ *strings.Reader }

func (w *whole) CopyRange(_ context.Context, to io.Writer, off, n int64) (int64, error) {
	return io.Copy(to, io.NewSectionReader(w.Reader, off, n))
}
func (w *whole) Wait(context.Context) error { return nil }
func (w *whole) Close() error               { return nil }

func serve(t *testing.T) *direct {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return &direct{host: strings.TrimPrefix(server.URL, "http://"), opened: map[chunk.Digest]bool{}}
}

func (d *direct) puller() *Puller {
	return &Puller{
		Objects: d, Origin: d, Parallel: 2, Interval: time.Hour,
		Sources: func(chunk.Digest) map[string]int64 { return map[string]int64{FromOrigin: 1} },
	}
}

func image(t *testing.T, layers int64) v1.Image {
	t.Helper()
	img, err := random.Image(2000, layers)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// multi pushes an index of two platforms and gives its two images.
func (d *direct) multi(t *testing.T) (amd64, arm64 v1.Image) {
	t.Helper()
	amd64, arm64 = image(t, 3), image(t, 1)
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: amd64, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
		mutate.IndexAddendum{Add: arm64, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}}})
	ref, err := name.ParseReference(d.host + "/app:multi")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	return amd64, arm64
}

func (d *direct) has(t *testing.T, img v1.Image) bool {
	t.Helper()
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, descriptor := range append(manifest.Layers, manifest.Config) {
		digest, err := chunk.ParseDigest(descriptor.Digest.String())
		if err != nil || !d.opened[digest] {
			return false
		}
	}
	return true
}

func TestPullTakesTheChosenPlatforms(t *testing.T) {
	for _, c := range []struct {
		platforms    []string
		amd64, arm64 bool
	}{
		{[]string{"linux/amd64"}, true, false},
		{[]string{"linux/arm64"}, false, true},
		{[]string{"linux/arm64/v8", "linux/amd64"}, true, true},
		{[]string{"all"}, true, true},
	} {
		d := serve(t)
		amd64, arm64 := d.multi(t)
		var last Event
		done := map[chunk.Digest]bool{}
		err := d.puller().Pull(t.Context(), Request{Image: d.host + "/app:multi", Platforms: c.platforms}, func(e Event) {
			last = e
			for _, o := range e.Objects {
				done[o.Digest] = done[o.Digest] || o.Done
			}
		})
		if err != nil || !last.Done {
			t.Fatalf("%q: %v, last event %+v", c.platforms, err, last)
		}
		if d.has(t, amd64) != c.amd64 || d.has(t, arm64) != c.arm64 {
			t.Errorf("%q: took amd64 %t, arm64 %t", c.platforms, d.has(t, amd64), d.has(t, arm64))
		}
		for digest := range d.opened {
			if !done[digest] {
				t.Errorf("%q: %s was fetched and never told of as done", c.platforms, digest)
			}
		}
	}
}

func TestCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		given string
		shut  bool // the registry refuses anybody
		head  string
		blobs string
	}{
		"public":  {"", false, distribution.NodeCredentials, ""},
		"private": {"", true, distribution.NodeCredentials, distribution.NodeCredentials},
		"given":   {"Basic eDp5", true, "Basic eDp5", "Basic eDp5"},
	} {
		t.Run(name, func(t *testing.T) {
			d := serve(t)
			d.multi(t)
			d.shut = c.shut
			r := Request{Image: d.host + "/app:multi", Platforms: []string{"all"}, Authorization: c.given}
			if err := d.puller().Pull(t.Context(), r, func(Event) {}); err != nil {
				t.Fatal(err)
			}
			if first, last := d.auth[0], d.auth[len(d.auth)-1]; first != c.head || last != c.blobs {
				t.Errorf("resolved as %q and fetched as %q, want %q and %q", first, last, c.head, c.blobs)
			}
		})
	}
}

func TestPullFails(t *testing.T) {
	d := serve(t)
	d.multi(t)
	for _, c := range []struct{ image, platform, want string }{
		{d.host + "/app:none", "", "404"},
		{d.host + "/app:multi", "linux/s390x", "it has linux/amd64, linux/arm64/v8"},
		{d.host + "/app:multi", "arm64", "is not a platform"},
		{"UPPER/case:x", "", "is not an image reference"},
		{d.host + "/app@sha256:" + strings.Repeat("0", 64), "", "404"},
	} {
		r := Request{Image: c.image}
		if c.platform != "" {
			r.Platforms = []string{c.platform}
		}
		var last Event
		err := d.puller().Pull(t.Context(), r, func(e Event) { last = e })
		if err == nil || !strings.Contains(err.Error(), c.want) || last.Error != err.Error() {
			t.Errorf("%s %s: %v, last event %+v; want %q", c.image, c.platform, err, last, c.want)
		}
	}
}

func TestParseReference(t *testing.T) {
	for image, want := range map[string]Reference{
		"debian":                   {Registry: "docker.io", Repository: "library/debian", Tag: "latest"},
		"org/app:1":                {Registry: "docker.io", Repository: "org/app", Tag: "1"},
		"docker.io/library/debian": {Registry: "docker.io", Repository: "library/debian", Tag: "latest"},
		"quay.io/org/app:v1":       {Registry: "quay.io", Repository: "org/app", Tag: "v1"},
		"localhost:5000/a/b/c:d":   {Registry: "localhost:5000", Repository: "a/b/c", Tag: "d"},
	} {
		got, err := ParseReference(image)
		if err != nil || got != want {
			t.Errorf("ParseReference(%q) = %+v, %v", image, got, err)
		}
	}
	digest := "sha256:" + strings.Repeat("ab", 32)
	got, err := ParseReference("debian:12@" + digest)
	if err != nil || got.Digest.String() != digest {
		t.Errorf("with a digest: %+v, %v", got, err)
	}
}
