package origin

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

func TestPrivateAddressesAreRefused(t *testing.T) {
	data := content(10)
	var asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		ranged(data)(w, r)
	})
	host := hostOf(s)
	_, port, _ := strings.Cut(host, ":")
	tests := []struct {
		name   string
		set    func(*Config)
		accept bool
	}{
		{"127.0.0.1:" + port, func(*Config) {}, false},
		{"localhost:" + port, func(*Config) {}, false},
		{"127.0.0.1:" + port, func(c *Config) { c.AllowPrivate = []string{"127.0.0.1"} }, true},
		{"127.0.0.1:" + port, func(c *Config) { c.AllowPrivate = []string{host} }, true},
		{"127.0.0.1:" + port, func(c *Config) { c.AllowPrivate = []string{"127.0.0.1:1"} }, false},
		{"localhost:" + port, func(c *Config) { c.AllowPrivate = []string{"127.0.0.0/8", "::1/128"} }, true},
		{"localhost:" + port, func(c *Config) { c.Registries = []Registry{{Name: "LOCALHOST:" + port}} }, true},
		{"localhost:" + port, func(c *Config) { c.Registries = []Registry{{Name: "docker.io"}} }, false},
	}
	for _, tt := range tests {
		cfg := testConfig()
		tt.set(&cfg)
		before := asked.Load()
		b, err := newClient(t, cfg).Open(context.Background(), distribution.Source{
			Registry: tt.name, Repository: "a", Digest: chunk.SumBytes(data),
		})
		if (err == nil) != tt.accept {
			t.Errorf("%s with %v, %v: %v, want accepted %t", tt.name, cfg.AllowPrivate, cfg.Registries, err, tt.accept)
		}
		if b != nil {
			b.Close()
		}
		if tt.accept {
			continue
		}
		if asked.Load() != before {
			t.Errorf("%s: a request got through", tt.name)
		}
		var refused *distribution.OriginError
		if !errors.As(err, &refused) || !strings.Contains(refused.Message, "origin.registries") {
			t.Errorf("%s: %v does not say what to do", tt.name, err)
		}
	}
}

// TestRedirectToPrivateAddress: an allowed registry cannot send us where it is
// not allowed to be itself.
func TestRedirectToPrivateAddress(t *testing.T) {
	var asked atomic.Int32
	inside := serve(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1) })
	var target atomic.Value
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target.Load().(string), http.StatusTemporaryRedirect)
	})
	listed := testConfig()
	listed.AllowPrivate = []string{hostOf(s)}
	tests := []struct {
		cfg    Config
		target string
	}{
		{listed, inside.URL},
		{listed, "http://169.254.169.254/latest/meta-data"},
		{testConfig(s), "http://169.254.169.254/latest/meta-data"},
		{testConfig(s), "http://[fe80::1]/"},
		{testConfig(s), "http://[::ffff:169.254.169.254]/"},
		{testConfig(s), "http://0.0.0.0:" + strings.Split(hostOf(inside), ":")[1]},
	}
	for _, tt := range tests {
		target.Store(tt.target)
		_, err := newClient(t, tt.cfg).Open(context.Background(), sourceOf(s, nil))
		var private *privateError
		if !errors.As(err, &private) {
			t.Errorf("redirect to %s: got %v, want a refusal", tt.target, err)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("%d requests got inside", asked.Load())
	}
}

// TestTokenServerAtPrivateAddress: a challenge is no way in either.
func TestTokenServerAtPrivateAddress(t *testing.T) {
	var asked atomic.Int32
	inside := serve(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1) })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+inside.URL+`/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	cfg := testConfig()
	cfg.AllowPrivate = []string{hostOf(s)}
	if _, err := newClient(t, cfg).Open(context.Background(), sourceOf(s, nil)); err == nil {
		t.Error("opened")
	}
	if asked.Load() != 0 {
		t.Error("the token request got inside")
	}
}

func TestRestricted(t *testing.T) {
	for _, s := range []string{
		"127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.100.100.200",
		"224.0.0.1", "255.255.255.255", "198.18.0.1", "::1", "::", "fe80::1", "fd00:ec2::254", "ff02::1",
		"64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::ffff:10.0.0.1", "::127.0.0.1",
	} {
		if !restricted(netip.MustParseAddr(s).Unmap()) {
			t.Errorf("%s counts as public", s)
		}
	}
	for _, s := range []string{"8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"} {
		if restricted(netip.MustParseAddr(s).Unmap()) {
			t.Errorf("%s does not count as public", s)
		}
	}
}
