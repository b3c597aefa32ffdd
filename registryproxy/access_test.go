package registryproxy

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

const (
	alice   = "Basic YWxpY2U6c2VjcmV0"
	mallory = "Basic bWFsbG9yeTpzZWNyZXQ="
)

// private is a rig with an image in a/private that Alice may read.
func private(t *testing.T, cfg Config) (r *rig, manifest, layer chunk.Digest) {
	t.Helper()
	r = newRig(t, cfg)
	manifest = chunk.SumBytes(r.image(t, "a/private", "v1", []byte("secret layer")))
	r.set(func(o *origin) { o.users["a/private"] = []string{alice} })
	return r, manifest, chunk.SumBytes([]byte("secret layer"))
}

func TestPrivate(t *testing.T) {
	r, manifest, layer := private(t, testConfig())
	paths := []string{"/v2/a/private/manifests/v1", "/v2/a/private/manifests/" + manifest.String(), "/v2/a/private/blobs/" + layer.String()}
	for _, p := range paths {
		if got := r.get(t, p, "Authorization", alice); got.status != 200 {
			t.Fatalf("alice, %s: %d %s", p, got.status, got.body)
		}
	}
	for _, p := range paths { // all of it is in the cache now
		for _, who := range []string{mallory, "", distribution.NodeCredentials, "Bearer x", nobody} {
			for _, m := range []string{"GET", "HEAD"} {
				got := r.do(t, m, p, "Authorization", who)
				if got.status != 401 || got.header.Get("Www-Authenticate") != `Basic realm="Origin, \"private\""` {
					t.Errorf("%q, %s %s: %d %q", who, m, p, got.status, got.header.Get("Www-Authenticate"))
				}
				want := errorJSON("UNAUTHORIZED", "the origin wants other credentials: log in")
				if who == "" || who == distribution.NodeCredentials {
					want = errorJSON("UNAUTHORIZED", "the origin wants credentials: log in (docker sends them only where this node has login: true)")
				}
				if m == "GET" && string(got.body) != want {
					t.Errorf("body %s", got.body)
				}
			}
		}
	}
}

func TestRevokedCaller(t *testing.T) {
	r, _, layer := private(t, testConfig())
	blob := "/v2/a/private/blobs/" + layer.String()
	if got := r.get(t, blob, "Authorization", alice); got.status != 200 {
		t.Fatalf("status %d", got.status)
	}
	r.set(func(o *origin) { o.users["a/private"] = nil })
	r.asked("")
	r.clock.advance(time.Minute - 1)
	if got := r.get(t, blob, "Authorization", alice); got.status != 200 || r.asked("") != 0 {
		t.Errorf("within auth_cache: status %d", got.status)
	}
	r.clock.advance(1)
	if got := r.get(t, blob, "Authorization", alice); got.status != 401 {
		t.Errorf("after auth_cache: status %d", got.status)
	}
	// A refusal ends what might be stale, too.
	r.fail(503)
	if got := r.get(t, blob, "Authorization", alice); got.status != 502 {
		t.Errorf("origin down after a refusal: status %d", got.status)
	}
}

func TestDigestOfAnotherRepository(t *testing.T) {
	r, manifest, layer := private(t, testConfig())
	r.image(t, "b/public", "v1", []byte("other"))
	for _, p := range []string{"manifests/v1", "blobs/" + layer.String()} {
		if got := r.get(t, "/v2/a/private/"+p, "Authorization", alice); got.status != 200 {
			t.Fatalf("alice: %d", got.status)
		}
	}
	// The test registry shares blobs among its repositories; a real one does not.
	r.set(func(o *origin) {
		o.intercept = func(w http.ResponseWriter, req *http.Request) bool {
			if req.URL.Path != "/v2/b/public/blobs/"+layer.String() {
				return false
			}
			http.Error(w, "not here", http.StatusNotFound)
			return true
		}
	})
	r.put(t, "b/public/manifests/lie", "application/x-index", []byte(`{"mediaType":"application/x-index","manifests":[{"digest":"`+manifest.String()+`"}]}`))
	for _, tag := range []string{"v1", "lie"} {
		if got := r.get(t, "/v2/b/public/manifests/"+tag, "Authorization", mallory); got.status != 200 {
			t.Fatalf("public: %d", got.status)
		}
	}
	for _, p := range []string{"blobs/" + layer.String(), "manifests/" + manifest.String()} {
		for _, m := range []string{"GET", "HEAD"} {
			if got := r.do(t, m, "/v2/b/public/"+p, "Authorization", mallory); got.status != 404 {
				t.Errorf("%s of a/private through b/public: status %d", p, got.status)
			}
		}
	}
}

func TestRequestsOfAPull(t *testing.T) {
	layers := make([][]byte, 60)
	for i := range layers {
		layers[i] = []byte{'l', byte(i)}
	}
	pull := func(t *testing.T, r *rig) {
		t.Helper()
		if got := r.get(t, "/v2/org/app/manifests/v1"); got.status != 200 {
			t.Fatalf("manifest: %d", got.status)
		}
		for _, l := range layers {
			if got := r.get(t, "/v2/org/app/blobs/"+chunk.SumBytes(l).String()); got.status != 200 || string(got.body) != string(l) {
				t.Fatalf("layer: %d %q", got.status, got.body)
			}
		}
	}
	for _, tt := range []struct {
		trust bool
		cold  int
		warm  int
	}{{true, 1, 1}, {false, 61, 1}} {
		cfg := testConfig()
		cfg.TrustManifests = tt.trust
		r := newRig(t, cfg)
		r.image(t, "org/app", "v1", layers...)
		pull(t, r)
		if n := r.asked("HEAD"); n != tt.cold {
			t.Errorf("trust %v: cold pull costs %d HEADs, want %d", tt.trust, n, tt.cold)
		}
		if n := r.asked("GET"); n != 61 {
			t.Errorf("trust %v: cold pull costs %d GETs", tt.trust, n)
		}
		pull(t, r)
		if n := r.asked(""); n != tt.warm {
			t.Errorf("trust %v: warm pull costs %d requests, want %d", tt.trust, n, tt.warm)
		}
	}
}

// held is an origin that answers HEADs when it is let go.
type held struct {
	mu      sync.Mutex
	heads   map[string]int // by credential
	letGo   chan struct{}
	digest  chunk.Digest
	refused string // a credential
}

func (h *held) Forward(ctx context.Context, r distribution.Request) (*http.Response, error) {
	h.mu.Lock()
	h.heads[r.Authorization]++
	h.mu.Unlock()
	select {
	case <-h.letGo:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	resp := &http.Response{StatusCode: 200, Body: http.NoBody, ContentLength: 5, Header: http.Header{
		"Content-Type": {ociManifest}, "Docker-Content-Digest": {h.digest.String()},
	}}
	if r.Authorization == h.refused {
		resp.StatusCode = 401
	}
	return resp, nil
}

func TestConcurrentRequestsAreCollapsed(t *testing.T) {
	content := []byte("layer")
	d := chunk.SumBytes(content)
	for _, path := range []string{"/v2/org/app/manifests/v1", "/v2/org/app/manifests/" + d.String(), "/v2/org/app/blobs/" + d.String()} {
		synctest.Test(t, func(t *testing.T) {
			h := &held{heads: make(map[string]int), letGo: make(chan struct{}), digest: d, refused: mallory}
			o := newObjects(h)
			o.held[d] = content
			p, err := New(testConfig(), o, h, slog.New(slog.DiscardHandler), NewMetrics(nil))
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					r := httptest.NewRequest("GET", path, nil)
					w := httptest.NewRecorder()
					who, want := alice, 200
					if i%2 == 1 {
						who, want = mallory, 401
					}
					r.Header.Set("Authorization", who)
					p.ServeHTTP(w, r)
					if w.Code != want {
						t.Errorf("%s: %d, want %d", who, w.Code, want)
					}
				})
			}
			synctest.Wait() // every caller waits
			close(h.letGo)
			wg.Wait()
			if diff := cmp.Diff(map[string]int{alice: 1, mallory: 1}, h.heads); diff != "" {
				t.Errorf("%s: HEADs (-want +got):\n%s", path, diff)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStaleWait: an origin that is silent costs the first caller StaleWait and
// the next ones nothing.
func TestStaleWait(t *testing.T) {
	content := []byte("layer")
	d := chunk.SumBytes(content)
	synctest.Test(t, func(t *testing.T) {
		h := &held{heads: make(map[string]int), letGo: make(chan struct{}), digest: d}
		o := newObjects(h)
		o.held[d] = content
		cfg := tagConfig(TagRule{Match: "**", Policy: PolicyRevalidate, StaleIfError: time.Hour})
		p, err := New(cfg, o, h, slog.New(slog.DiscardHandler), NewMetrics(nil))
		if err != nil {
			t.Fatal(err)
		}
		get := func() (int, time.Duration) {
			began, w := time.Now(), httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/v2/org/app/manifests/v1", nil)
			r.Header.Set("Authorization", alice)
			p.ServeHTTP(w, r)
			return w.Code, time.Since(began)
		}
		open := h.letGo
		close(open)
		get()
		synctest.Wait()
		h.letGo = make(chan struct{}) // silence
		for i, want := range []time.Duration{cfg.StaleWait, 0, 0} {
			if status, took := get(); status != 200 || took != want {
				t.Errorf("request %d: %d after %s, want %s", i, status, took, want)
			}
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestDeniedAddress(t *testing.T) {
	r := newRig(t, testConfig())
	r.up.fail(&distribution.OriginError{Code: "DENIED", Message: "10.0.0.1 is a private address; list it in origin.allow_private"})
	for _, p := range []string{"/v2/org/app/manifests/v1", "/v2/org/app/tags/list", "/v2/org/app/manifests/v1?ns=10.0.0.1"} {
		got := r.get(t, p)
		if want := errorJSON("DENIED", "10.0.0.1 is a private address; list it in origin.allow_private"); got.status != 403 || string(got.body) != want {
			t.Errorf("%s: %d %s", p, got.status, got.body)
		}
	}
}

func TestUnreachable(t *testing.T) {
	r := newRig(t, testConfig())
	r.up.fail(&distribution.OriginError{Message: "connection refused", Err: errors.New("dial")})
	for path, want := range map[string]int{
		"/v2/org/app/manifests/v1": 502, "/v2/org/app/manifests/v1?ns=origin.test": 404,
		"/v2/org/app/tags/list": 502, "/v2/org/app/tags/list?ns=origin.test": 404,
	} {
		if got := r.get(t, path); got.status != want || !isErrorBody(got.body) {
			t.Errorf("%s: %d %s, want %d", path, got.status, got.body, want)
		}
	}
}

func TestOriginSilent(t *testing.T) {
	cfg := testConfig()
	cfg.OriginTimeout = 20 * time.Millisecond
	r := newRig(t, cfg)
	gone := make(chan struct{})
	defer close(gone)
	r.set(func(o *origin) {
		o.intercept = func(http.ResponseWriter, *http.Request) bool { <-gone; return true }
	})
	if got := r.get(t, "/v2/org/app/manifests/v1"); got.status != 504 {
		t.Errorf("status %d %s", got.status, got.body)
	}
}

// TestTokenForNobody: a public image behind a token server needs no token of
// the client's own.
func TestTokenForNobody(t *testing.T) {
	r := newRig(t, testConfig())
	r.image(t, "org/app", "v1", []byte("layer"))
	r.set(func(o *origin) {
		o.intercept = func(w http.ResponseWriter, req *http.Request) bool {
			if req.Header.Get("Authorization") == nobody { // what the origin package exchanges
				return false
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://auth.test/token",service="s"`)
			w.WriteHeader(401)
			return true
		}
	})
	if got := r.get(t, "/v2/org/app/manifests/v1"); got.status != 200 {
		t.Errorf("status %d %s", got.status, got.body)
	}
	if got := r.get(t, "/v2/org/app/manifests/v1", "Authorization", alice); got.status != 401 {
		t.Errorf("with credentials: status %d", got.status)
	}
}
