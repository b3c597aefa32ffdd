package origin

import (
	"strings"
	"testing"
)

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		"docker.io":                "docker.io",
		"index.docker.io":          "docker.io",
		"Registry-1.Docker.IO":     "docker.io",
		"quay.io":                  "quay.io",
		"GHCR.io":                  "ghcr.io",
		"localhost:5000":           "localhost:5000",
		"registry":                 "registry",
		"my_registry.svc:1":        "my_registry.svc:1",
		"127.0.0.1:65535":          "127.0.0.1:65535",
		"[::1]:5000":               "[::1]:5000",
		"[2001:DB8::1]":            "[2001:db8::1]",
		"registry.example.com:443": "registry.example.com:443",
	} {
		if got, err := Canonical(in); got != want || err != nil {
			t.Errorf("Canonical(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", ":", ":5000", "a:", "a:0", "a:05", "a:65536", "a:+5", "a:b", "a:1:2", "a/b", "a b", "a\n", "-a", "a-", "a..b", ".a", "a.",
		"http://a", "a@b", "a?b", "a#b", "a%2f", "::1", "[::1", "[::1]x", "[::1]:", "[fe80::1%eth0]:5000", "[1.2.3.4]", "ü.example",
		strings.Repeat("a", 64), strings.Repeat("a.", 127) + "a.a",
	} {
		if got, err := Canonical(in); err == nil {
			t.Errorf("Canonical(%q) = %q, want an error", in, got)
		}
	}
}

func TestSchemes(t *testing.T) {
	yes, no := true, false
	tests := []struct {
		name  string
		plain *bool
		want  string
	}{
		{"docker.io", nil, "https://registry-1.docker.io/v2"},
		{"quay.io", nil, "https://quay.io/v2"},
		{"10.0.0.1:5000", nil, "https://10.0.0.1:5000/v2"},
		{"10.0.0.1:5000", &yes, "http://10.0.0.1:5000/v2"},
		{"localhost", nil, "http://localhost/v2"},
		{"127.8.9.1:5000", nil, "http://127.8.9.1:5000/v2"},
		{"[::1]:5000", nil, "http://[::1]:5000/v2"},
		{"localhost:5000", &no, "https://localhost:5000/v2"},
		{"localhost.example.com", nil, "https://localhost.example.com/v2"},
	}
	for _, tt := range tests {
		if got := ownBase(tt.name, tt.plain).String(); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"docker.io", "LOCALHOST:5000", "[::1]:5", "a:b:c", "[", "x]:1", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, err := Canonical(s)
		if err != nil {
			return
		}
		if again, err := Canonical(name); err != nil || again != name {
			t.Errorf("Canonical(%q) = %q, which becomes %q, %v", s, name, again, err)
		}
		if u := ownBase(name, nil); name != hubName && u.Host != name || strings.ContainsAny(name, "/@?# ") {
			t.Errorf("%q is not a plain host", name)
		}
	})
}
