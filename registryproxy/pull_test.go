package registryproxy

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// nsTransport asks as containerd does of a mirror.
type nsTransport struct{ registry string }

func (n nsTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.RawQuery = url.Values{"ns": {n.registry}}.Encode()
	return http.DefaultTransport.RoundTrip(r)
}

// TestRealClient pulls an image and an index in all three forms with
// go-containerregistry, which checks every digest and size.
func TestRealClient(t *testing.T) {
	r := newRig(t, testConfig())
	img, err := random.Image(100_000, 5)
	if err != nil {
		t.Fatal(err)
	}
	idx, err := random.Index(10_000, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	push := func(ref string, do func(name.Reference) error) {
		t.Helper()
		parsed, err := name.ParseReference(r.host() + "/" + ref)
		if err == nil {
			err = do(parsed)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	push("org/image:v1", func(ref name.Reference) error { return remote.Write(ref, img) })
	push("org/index:v1", func(ref name.Reference) error { return remote.WriteIndex(ref, idx) })
	front := strings.TrimPrefix(r.front.URL, "http://")
	escaped := strings.Replace(r.host(), ":", "_", 1)
	for _, form := range []struct {
		name, prefix string
		transport    http.RoundTripper
	}{
		{"default registry", front + "/", http.DefaultTransport},
		{"prefix", front + "/" + testRegistry + "/", http.DefaultTransport},
		{"prefix with a port", front + "/" + escaped + "/", http.DefaultTransport},
		{"namespace", front + "/", nsTransport{r.host()}},
	} {
		t.Run(form.name, func(t *testing.T) {
			image, err := remote.Image(mustParse(t, form.prefix+"org/image:v1"), remote.WithTransport(form.transport))
			if err != nil {
				t.Fatal(err)
			}
			same(t, image, img)
			if err := validate.Image(image); err != nil {
				t.Error(err)
			}
			index, err := remote.Index(mustParse(t, form.prefix+"org/index:v1"), remote.WithTransport(form.transport))
			if err != nil {
				t.Fatal(err)
			}
			same(t, index, idx)
			if err := validate.Index(index); err != nil {
				t.Error(err)
			}
			if _, err := remote.Head(mustParse(t, form.prefix+"org/index:v1"), remote.WithTransport(form.transport)); err != nil {
				t.Error(err)
			}
			tags, err := remote.List(mustParse(t, form.prefix+"org/index:v1").Context(), remote.WithTransport(form.transport))
			if err != nil || len(tags) != 1 || tags[0] != "v1" {
				t.Errorf("tags %v, %v", tags, err)
			}
		})
	}
}

func mustParse(t *testing.T, s string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(s, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

func same(t *testing.T, got, want interface{ Digest() (v1.Hash, error) }) {
	t.Helper()
	g, err := got.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if w, err := want.Digest(); err != nil || g != w {
		t.Errorf("digest %s, want %s; %v", g, w, err)
	}
}

// TestBareResponseWriter: objects get the writer that sendfile needs.
func TestBareResponseWriter(t *testing.T) {
	r := newRig(t, testConfig())
	data := randomBytes(100_000)
	d := r.put(t, "org/app/blobs", "", data)
	seen := make(chan io.Writer, 1)
	w := httptest.NewRecorder()
	p, err := New(testConfig(), &spy{objects: r.objects, want: w, seen: seen}, r.up, slog.New(slog.DiscardHandler), NewMetrics(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	p.ServeHTTP(w, httptest.NewRequestWithContext(context.Background(), "GET", "/v2/org/app/blobs/"+d.String(), nil))
	if !bytes.Equal(w.Body.Bytes(), data) {
		t.Errorf("%d bytes", w.Body.Len())
	}
	if len(seen) != 1 {
		t.Error("CopyRange never got the ResponseWriter itself")
	}
}
