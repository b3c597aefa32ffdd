package registryproxy

import (
	"net/url"
	"strings"
	"testing"
)

func TestWhichOrigin(t *testing.T) {
	for _, tt := range []struct{ path, registry, name string }{
		{"/v2/library/debian/manifests/12", "docker.io", "library/debian"},
		{"/v2/debian/manifests/12", "docker.io", "library/debian"},
		{"/v2/docker.io/debian/manifests/12", "docker.io", "library/debian"},
		{"/v2/Registry-1.Docker.io/org/app/manifests/12", "docker.io", "org/app"},
		{"/v2/org/app/manifests/12?ns=quay.io", "quay.io", "org/app"},
		{"/v2/quay.io/app/manifests/12?ns=ghcr.io", "ghcr.io", "quay.io/app"},
		{"/v2/app/manifests/12?ns=docker.io", "docker.io", "library/app"},
		{"/v2/app/manifests/12?ns=quay.io:8443", "quay.io:8443", "app"},
		{"/v2/quay.io/org/manifests/manifests/12", "quay.io", "org/manifests"},
		{"/v2/localhost/app/manifests/12", "localhost", "app"},
		{"/v2/localhost_5000/app/manifests/12", "localhost:5000", "app"},
		{"/v2/127.0.0.1:5000/app/manifests/12", "127.0.0.1:5000", "app"},
		{"/v2/127.0.0.1_5000/app/manifests/12", "127.0.0.1:5000", "app"},
		{"/v2/reg.example_443/a/b/manifests/12", "reg.example:443", "a/b"},
		{"/v2/my_5000/app/manifests/12", "docker.io", "my_5000/app"},
		{"/v2/[::1]:5000/app/manifests/12", "[::1]:5000", "app"},
		{"/v2/127.0.0.1%3A5000/app/manifests/12", "127.0.0.1:5000", "app"},
	} {
		u, err := url.Parse(tt.path)
		if err != nil {
			t.Fatal(err)
		}
		got, bad := parseRoute(u, dockerHub)
		if bad == nil {
			bad = got.canonicalize(canonical)
		}
		if bad != nil || got.repo != (repo{tt.registry, tt.name}) || got.reference != "12" {
			t.Errorf("%s: %v %+v, want %s/%s", tt.path, bad, got, tt.registry, tt.name)
		}
	}
	if _, bad := parseRoute(&url.URL{Path: "/v2/org/app/manifests/12"}, ""); bad == nil || bad.status != 404 {
		t.Errorf("without a default registry: %+v", bad)
	}
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern string
		yes, no []string
	}{
		{"quay.io", []string{"quay.io/a", "quay.io/a/b"}, []string{"quay.io:80/a", "x.quay.io/a"}},
		{"*.internal:5000", []string{"a.internal:5000/x"}, []string{"a.internal/x"}},
		{"**", []string{"quay.io/a/b/c"}, nil},
		{"docker.io/library/*", []string{"docker.io/library/a"}, []string{"docker.io/library/a/b", "docker.io/library"}},
		{"docker.io/library/**", []string{"docker.io/library/a", "docker.io/library/a/b"}, []string{"docker.io/a"}},
		{"**/app", []string{"quay.io/app", "quay.io/x/app"}, []string{"quay.io/app/x"}},
	} {
		for want, list := range map[bool][]string{true: tt.yes, false: tt.no} {
			for _, s := range list {
				registry, name, _ := strings.Cut(s, "/")
				if got := (repo{registry, name}).matches(tt.pattern); got != want {
					t.Errorf("%s matches %s: %v", tt.pattern, s, got)
				}
			}
		}
	}
}

// FuzzRoute: whatever the URL, names that come out are valid, so that no path
// can lead an origin elsewhere, and the route leads back to itself.
func FuzzRoute(f *testing.F) {
	for _, s := range []string{
		"/v2/", "/v2/library/debian/manifests/12", "/v2/a/b?ns=quay.io", "/v2/127.0.0.1_5000/app/blobs/sha256:" + strings.Repeat("a", 64),
		"/v2/a/../../b/manifests/x", "/v2//manifests/x", "/v2/a%2fb/tags/list", "/v2/x/blobs/uploads/", "/v2/localhost/manifests/manifests/x?ns=", "/v2/a/referrers/sha512:00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		got, bad := parseRoute(u, dockerHub)
		if bad == nil && got.kind != kindPing && got.kind != kindToken {
			bad = got.canonicalize(canonical)
		}
		if bad != nil {
			if bad.status < 400 || bad.status > 499 || !isErrorBody(bad.body()) {
				t.Errorf("problem %+v", bad)
			}
			return
		}
		if got.kind == kindPing || got.kind == kindToken {
			return
		}
		if !validHost(got.repo.registry) || !nameGrammar.MatchString(got.repo.name) || strings.Contains(got.path(), "..") || strings.ContainsAny(got.path(), "/?#% ") && strings.Count(got.path(), "/") != 1 {
			t.Errorf("%q gives %+v", s, got)
		}
		again, bad := parseRoute(&url.URL{Path: "/v2/" + got.repo.name + "/" + got.path(), RawQuery: url.Values{"ns": {got.repo.registry}}.Encode()}, "")
		again.byNamespace = got.byNamespace
		if bad != nil || again != got {
			t.Errorf("%q gives %+v, then %+v", s, got, again)
		}
	})
}

func FuzzRange(f *testing.F) {
	for _, s := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=5-1", "bytes=1-2,3-4", "x=1-2", "bytes=99999999999999999999-"} {
		f.Add(s, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		s, partial, ok := parseRange(header, size)
		switch {
		case !ok && !partial:
			t.Error("refused without a range")
		case ok && (s.off < 0 || s.n < 0 || s.off+s.n > size || s.off+s.n < 0):
			t.Errorf("%q of %d gives %+v", header, size, s)
		case ok && partial && s.n == 0, ok && !partial && s != (span{0, size}):
			t.Errorf("%q of %d gives %+v, partial %v", header, size, s, partial)
		}
	})
}
