package origin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// seenBy is what a mirror or registry was asked.
type seenBy struct {
	requests atomic.Int32
	auth, ns atomic.Value
}

func (s *seenBy) wrap(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		s.auth.Store(r.Header.Get("Authorization"))
		s.ns.Store(r.URL.Query().Get("ns"))
		h(w, r)
	}
}

// mirrored is a config in which m is the mirror of s.
func mirrored(s *httptest.Server, mirrors ...string) Config {
	cfg := testConfig(s)
	cfg.Registries[0].Mirrors = mirrors
	return cfg
}

func TestMirrorServes(t *testing.T) {
	data := content(2 * chunk.Size)
	for _, trust := range []bool{false, true} {
		var mirror, registry seenBy
		m := serve(t, mirror.wrap(ranged(data)))
		s := serve(t, registry.wrap(ranged(data)))
		cfg := mirrored(s, m.URL)
		cfg.Registries[0].TrustMirror = trust
		src := sourceOf(s, data)
		src.Authorization = "Bearer mine"
		wantWhole(t, open(t, newClient(t, cfg), src), data)
		if n := registry.requests.Load(); n != 0 {
			t.Errorf("the registry got %d requests", n)
		}
		if mirror.ns.Load() != hostOf(s) {
			t.Errorf("ns is %q, want %q", mirror.ns.Load(), hostOf(s))
		}
		if want := map[bool]string{false: "", true: "Bearer mine"}[trust]; mirror.auth.Load() != want {
			t.Errorf("trusted %t: the mirror got Authorization %q", trust, mirror.auth.Load())
		}
	}
}

// TestMirrorFails: whatever is wrong with a mirror, the registry serves.
func TestMirrorFails(t *testing.T) {
	data := content(2*chunk.Size + 1)
	var cut atomic.Int32
	tests := map[string]http.HandlerFunc{
		"404": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) },
		"401": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) },
		"429": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(429)
		},
		"503":             func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) },
		"no answer":       func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"lies":            func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(206) },
		"refuses a range": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(416) },
		"breaks mid-blob": func(w http.ResponseWriter, r *http.Request) {
			if cut.Add(1) > 1 {
				panic(http.ErrAbortHandler)
			}
			ranged(data)(w, r)
		},
		"other size later": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "bytes=0-4194303" {
				ranged(data)(w, r)
				return
			}
			ranged(data[:chunk.Size+7])(w, r)
		},
	}
	for name, h := range tests {
		t.Run(name, func(t *testing.T) {
			m := serve(t, h)
			s := serve(t, ranged(data))
			wantWhole(t, open(t, newClient(t, mirrored(s, m.URL)), sourceOf(s, data)), data)
		})
	}
}

func TestDeadMirrorIsLeftAlone(t *testing.T) {
	data := content(10)
	var dead, registry seenBy
	m := serve(t, dead.wrap(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }))
	s := serve(t, registry.wrap(ranged(data)))
	c := newClient(t, mirrored(s, m.URL))
	for range 4 {
		wantWhole(t, open(t, c, sourceOf(s, data)), data)
	}
	if d := cmp.Diff([]int32{1, 4}, []int32{dead.requests.Load(), registry.requests.Load()}); d != "" {
		t.Errorf("requests to the mirror and the registry (-want +got):\n%s", d)
	}
}

func TestMirrorURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://m.example":                 "https://m.example/v2",
		"http://m.example:5000/":            "http://m.example:5000/v2",
		"https://m.example/some/path":       "https://m.example/some/path/v2",
		"https://m.example/v2/proxy-cache/": "https://m.example/v2/proxy-cache",
	} {
		u, err := parseMirror(in)
		if err != nil || u.String() != want {
			t.Errorf("parseMirror(%q) = %v, %v; want %s", in, u, err, want)
		}
	}
	for _, in := range []string{"", "m.example", "ftp://m.example", "https://user:pw@m.example", "https://m.example?x=1", "https://", "https://-x"} {
		if u, err := parseMirror(in); err == nil {
			t.Errorf("parseMirror(%q) = %v", in, u)
		}
	}
}

// TestForwardPastAMirror: a mirror's refusal is not the answer, and the caller's
// credentials go to the registry only.
func TestForwardPastAMirror(t *testing.T) {
	var mirror, registry seenBy
	m := serve(t, mirror.wrap(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	s := serve(t, registry.wrap(ranged(content(10))))
	resp, err := newClient(t, mirrored(s, m.URL)).Forward(context.Background(), distribution.Request{
		Method: http.MethodGet, Registry: hostOf(s), Repository: "a", Path: "manifests/latest",
		Query: url.Values{"ns": {"other.example"}}, Authorization: "Bearer mine",
	})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK || mirror.auth.Load() != "" || registry.auth.Load() != "Bearer mine" || registry.ns.Load() != "" {
		t.Errorf("%s; the mirror got %q, the registry %q and ns %q", resp.Status, mirror.auth.Load(), registry.auth.Load(), registry.ns.Load())
	}
}
