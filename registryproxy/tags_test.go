package registryproxy

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

const appV1 = "/v2/org/app/manifests/v1"

func tagConfig(rules ...TagRule) Config {
	cfg := testConfig()
	cfg.Tags = rules
	return cfg
}

// digest asks for a tag and returns what came, or nothing.
func (r *rig) digest(t *testing.T, path string, header ...string) string {
	t.Helper()
	return r.get(t, path, header...).header.Get("Docker-Content-Digest")
}

func TestTagPolicies(t *testing.T) {
	hour := time.Hour
	for _, tt := range []struct {
		name string
		rule TagRule
		// moved is after how long the tag's new meaning shows; -1 never.
		after []time.Duration
		seen  []bool
	}{
		{"revalidate", TagRule{Match: "**", Policy: PolicyRevalidate}, []time.Duration{0}, []bool{true}},
		{"ttl", TagRule{Match: "origin.test", Policy: PolicyTTL, TTL: hour}, []time.Duration{0, hour - 1, 1}, []bool{false, false, true}},
		{"immutable", TagRule{Match: "*/org/**", Tag: "v*", Policy: PolicyImmutable}, []time.Duration{0, 1000 * hour}, []bool{false, false}},
		{"no rule", TagRule{Match: "quay.io", Policy: PolicyImmutable}, []time.Duration{0}, []bool{true}},
		{"another tag", TagRule{Match: "**", Tag: "w*", Policy: PolicyImmutable}, []time.Duration{0}, []bool{true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tagConfig(tt.rule))
			r.image(t, "org/app", "v1", []byte("one"))
			before := r.digest(t, appV1)
			after := chunk.SumBytes(r.image(t, "org/app", "v1", []byte("two"))).String()
			for i, d := range tt.after {
				r.clock.advance(d)
				want := before
				if tt.seen[i] {
					want = after
				}
				if got := r.digest(t, appV1); got != want {
					t.Errorf("after %s: %s, want %s", d, got, want)
				}
			}
		})
	}
}

func TestFirstRuleDecides(t *testing.T) {
	cfg := tagConfig(TagRule{Match: "docker.io/library/**", Tag: "latest", Policy: PolicyTTL, TTL: 1},
		TagRule{Match: "docker.io", Policy: PolicyImmutable}, TagRule{Match: "**", Policy: PolicyRevalidate, StaleIfError: 5})
	for name, want := range map[[2]string]string{
		{"library/debian", "latest"}: PolicyTTL, {"library/debian", "12"}: PolicyImmutable, {"org/app", "latest"}: PolicyImmutable,
	} {
		if got := cfg.rule(repo{"docker.io", name[0]}, name[1]).Policy; got != want {
			t.Errorf("%v: %s, want %s", name, got, want)
		}
	}
	if got := cfg.rule(repo{"quay.io", "a"}, "x"); got.StaleIfError != 5 {
		t.Errorf("quay.io: %+v", got)
	}
}

func TestTagPerAccept(t *testing.T) {
	r := newRig(t, tagConfig(TagRule{Match: "**", Policy: PolicyImmutable}))
	index, image := []byte(`{"mediaType":"application/x-index"}`), []byte(`{"mediaType":"application/x-image"}`)
	r.set(func(o *origin) {
		o.intercept = func(w http.ResponseWriter, req *http.Request) bool {
			body, ct := image, "application/x-image"
			if strings.Contains(req.Header.Get("Accept"), "x-index") || strings.HasSuffix(req.URL.Path, chunk.SumBytes(index).String()) {
				body, ct = index, "application/x-index"
			}
			w.Header().Set("Content-Type", ct)
			w.Header().Set("Docker-Content-Digest", chunk.SumBytes(body).String())
			_, _ = w.Write(body)
			return true
		}
	})
	for range 2 {
		for accept, want := range map[string][]byte{"application/x-image": image, "application/x-index, application/x-image": index, "application/X-image,application/x-index": index} {
			if got := r.get(t, appV1, "Accept", accept); string(got.body) != string(want) {
				t.Errorf("Accept %s: %s", accept, got.body)
			}
		}
	}
	if n := r.asked("HEAD /v2/org/app/manifests/v1"); n != 2 {
		t.Errorf("%d HEADs for two sets of types", n)
	}
}

func TestTagWithoutDigestHeader(t *testing.T) {
	r := newRig(t, testConfig())
	body := []byte(`{"schemaVersion":2}`)
	r.set(func(o *origin) {
		o.intercept = func(w http.ResponseWriter, req *http.Request) bool {
			w.Header().Set("Content-Type", ociManifest)
			_, _ = w.Write(body)
			return true
		}
	})
	got := r.get(t, appV1)
	if got.status != 200 || string(got.body) != string(body) || got.header.Get("Docker-Content-Digest") != chunk.SumBytes(body).String() || got.header.Get("Content-Type") != ociManifest {
		t.Errorf("%d %s %v", got.status, got.body, got.header)
	}
}

func TestStaleIfError(t *testing.T) {
	stale := TagRule{Match: "**", Policy: PolicyRevalidate, StaleIfError: time.Hour}
	down := map[string]func(*rig){
		"503":       func(r *rig) { r.fail(503) },
		"429":       func(r *rig) { r.fail(429) },
		"no answer": func(r *rig) { r.up.fail(&distribution.OriginError{Message: "no route"}) },
	}
	for name, fail := range down {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, tagConfig(stale))
			body := r.image(t, "org/app", "v1", []byte("layer"))
			paths := []string{appV1, "/v2/org/app/manifests/" + chunk.SumBytes(body).String(), "/v2/org/app/blobs/" + chunk.SumBytes([]byte("layer")).String()}
			for _, p := range paths {
				r.get(t, p)
			}
			fail(r)
			r.clock.advance(time.Hour - 1)
			r.asked("")
			for _, p := range paths {
				got := r.get(t, p)
				if got.status != 200 || got.header.Get("Warning") != `110 shoal "Response is Stale"` {
					t.Errorf("%s: %d, Warning %q", p, got.status, got.header.Get("Warning"))
				}
			}
			if n := r.asked(""); n > 1 {
				t.Errorf("a failing origin was asked %d times within restTime", n)
			}
			r.clock.advance(1)
			for _, p := range paths {
				if got := r.get(t, p); got.status == 200 {
					t.Errorf("%s: served after stale_if_error", p)
				}
			}
			r.up.fail(nil)
			r.heal()
			if got := r.get(t, appV1); got.status != 200 || got.header.Get("Warning") != "" {
				t.Errorf("healed: %d, Warning %q", got.status, got.header.Get("Warning"))
			}
		})
	}
}

func TestStaleCallers(t *testing.T) {
	cfg := tagConfig(TagRule{Match: "**", Policy: PolicyRevalidate, StaleIfError: 10 * time.Hour})
	r, _, layer := private(t, cfg)
	paths := []string{"/v2/a/private/manifests/v1", "/v2/a/private/blobs/" + layer.String()}
	for _, p := range paths {
		if got := r.get(t, p, "Authorization", alice); got.status != 200 {
			t.Fatalf("%s: %d", p, got.status)
		}
	}
	r.fail(500)
	r.clock.advance(time.Hour - 1)
	for _, p := range paths {
		if got := r.get(t, p, "Authorization", alice); got.status != 200 {
			t.Errorf("alice, within stale_auth: %d", got.status)
		}
		for _, who := range []string{mallory, ""} {
			if got := r.get(t, p, "Authorization", who); got.status == 200 {
				t.Errorf("%q was served stale content of a private repository", who)
			}
		}
	}
	r.clock.advance(1)
	for _, p := range paths {
		if got := r.get(t, p, "Authorization", alice); got.status == 200 {
			t.Errorf("alice was served after stale_auth")
		}
	}
}

// TestPublicIsFoundOut: what somebody read with a token may, if it is public, be
// served stale to all, after a restart too.
func (r *rig) knownPublic(name string) bool {
	_, known := r.proxy.state.public(repo{testRegistry, name})
	return known
}

func TestPublicIsFoundOut(t *testing.T) {
	cfg := tagConfig(TagRule{Match: "**", Policy: PolicyRevalidate, StaleIfError: time.Hour})
	cfg.StateDir = t.TempDir()
	r := newRig(t, cfg)
	body := r.image(t, "org/app", "v1", []byte("layer"))
	blob := "/v2/org/app/blobs/" + chunk.SumBytes([]byte("layer")).String()
	for _, p := range []string{appV1, blob} {
		r.get(t, p, "Authorization", "Bearer of-the-day")
	}
	for !r.knownPublic("org/app") { // it is found out beside the work
		time.Sleep(time.Millisecond)
	}
	r.halt()
	r.fail(503)
	r.start(t, cfg)
	for _, p := range []string{appV1, blob, "/v2/org/app/manifests/" + chunk.SumBytes(body).String()} {
		got := r.get(t, p)
		if got.status != 200 || got.header.Get("Warning") == "" {
			t.Errorf("%s after a restart: %d %s", p, got.status, got.body)
		}
	}
	if got := r.do(t, "HEAD", appV1); got.status != 200 || got.header.Get("Content-Type") != ociManifest {
		t.Errorf("HEAD: %d %v", got.status, got.header)
	}
	r.clock.advance(time.Hour)
	if got := r.get(t, appV1); got.status != 502 {
		t.Errorf("after stale_if_error: %d", got.status)
	}
}

func TestStateKeepsNoCredential(t *testing.T) {
	cfg := tagConfig(TagRule{Match: "**", Policy: PolicyRevalidate, StaleIfError: time.Hour})
	cfg.StateDir = t.TempDir()
	r, _, _ := private(t, cfg)
	r.get(t, "/v2/a/private/manifests/v1", "Authorization", alice)
	r.halt()
	data, err := os.ReadFile(filepath.Join(cfg.StateDir, "registryproxy.db"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), "a/private:v1") || strings.Contains(string(data), "YWxpY2U6c2VjcmV0") {
		t.Error("the state lacks the tag or holds the credential")
	}
}

func TestDamagedState(t *testing.T) {
	cfg := testConfig()
	cfg.StateDir = t.TempDir()
	name := filepath.Join(cfg.StateDir, "registryproxy.db")
	if err := os.WriteFile(name, []byte(strings.Repeat("nonsense", 4096)), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, cfg)
	r.image(t, "org/app", "v1")
	if got := r.get(t, appV1); got.status != 200 {
		t.Errorf("status %d", got.status)
	}
	if _, err := os.Stat(name + ".damaged"); err != nil {
		t.Error(err)
	}
}

func TestNormalAccept(t *testing.T) {
	got := normalAccept([]string{"b/x ; q=0.5, A/y", "a/y,, c/z"})
	if diff := cmp.Diff("a/y,b/x;q=0.5,c/z", got); diff != "" {
		t.Error(diff)
	}
}

func TestConfig(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
	bad := Config{
		DefaultRegistry: "a b", Allow: []string{"["}, Deny: []string{""}, AuthCache: -1, StaleAuth: -1,
		Tags: []TagRule{{Match: "a//b", Tag: "[", Policy: "sometimes", StaleIfError: -1}, {Match: "**", Policy: PolicyTTL}, {Match: "**", Policy: PolicyImmutable, TTL: 1}},
	}
	err := bad.Validate()
	for _, key := range []string{
		"default_registry", "allow", "deny", "auth_cache", "stale_auth", "stale_wait", "origin_timeout", "open_timeout", "stall_timeout",
		"tags[0]: match", "tag: ", "policy", "stale_if_error", "tags[1]: ttl", "tags[2]: ttl",
	} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not reported: %v", key, err)
		}
	}
}
