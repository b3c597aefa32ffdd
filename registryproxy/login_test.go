package registryproxy

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestLogin(t *testing.T) {
	cfg := testConfig()
	cfg.Login = true
	r, _, _ := private(t, cfg)
	r.image(t, "org/app", "v1", []byte("layer"))
	front := strings.TrimPrefix(r.front.URL, "http://")
	for _, tt := range []struct {
		repo string
		auth authn.Authenticator
		ok   bool
	}{
		{"a/private", &authn.Basic{Username: "alice", Password: "secret"}, true},
		{"a/private", &authn.Basic{Username: "mallory", Password: "secret"}, false},
		{"a/private", authn.Anonymous, false},
		{"org/app", authn.Anonymous, true},
	} {
		img, err := remote.Image(mustParse(t, front+"/"+testRegistry+"/"+tt.repo+":v1"), remote.WithAuth(tt.auth))
		if err == nil {
			_, err = img.RawConfigFile()
		}
		if (err == nil) != tt.ok {
			t.Errorf("%s as %v: %v", tt.repo, tt.auth, err)
		}
	}
	open := newRig(t, testConfig())
	if got := open.get(t, "/v2/"); got.status != 200 || got.header.Get("Www-Authenticate") == "" || string(got.body) != "{}" {
		t.Errorf("ping without login: %d %s", got.status, got.body)
	}
	ping := r.get(t, "/v2/")
	if want := `Bearer realm="` + r.front.URL + `/shoal/token",service="shoal"`; ping.status != 401 || ping.header.Get("Www-Authenticate") != want {
		t.Errorf("ping: %d %s", ping.status, ping.header.Get("Www-Authenticate"))
	}
}

func TestTokens(t *testing.T) {
	cfg := testConfig()
	cfg.Login = true
	r, _, _ := private(t, cfg)
	var got struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(r.get(t, tokenPath, "Authorization", alice).body, &got); err != nil || strings.Contains(got.Token, "YWxpY2U6c2VjcmV0") {
		t.Fatalf("token %q, %v", got.Token, err)
	}
	const path = "/v2/a/private/manifests/v1"
	if a := r.get(t, path, "Authorization", "Bearer "+got.Token); a.status != 200 {
		t.Errorf("with a token: %d", a.status)
	}
	for name, auth := range map[string]string{
		"changed": "Bearer " + got.Token[:len(got.Token)-2] + "AA", "short": "Bearer shoal.", "no base64": "Bearer shoal.!", "as the node": "node",
	} {
		if a := r.get(t, path, "Authorization", auth); a.status != 401 {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	if a := r.get(t, "/v2/", "Authorization", "Bearer "+got.Token); a.status != 200 {
		t.Errorf("ping with a token: %d", a.status)
	}
	r.clock.advance(tokenLife + time.Second)
	if a := r.get(t, path, "Authorization", "Bearer "+got.Token); a.status != 401 {
		t.Errorf("expired: %d", a.status)
	}
	if a := r.get(t, tokenPath, "Authorization", "Bearer x"); a.status != 401 {
		t.Errorf("token for a token: %d", a.status)
	}
	if a := r.get(t, path, "Authorization", "Basic "+strings.Repeat("x", 17<<10)); a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("long credentials: %d", a.status)
	}
}
