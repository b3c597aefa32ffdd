package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

const userPassword = "Basic dXNlcjpzZWNyZXQ=" // user:secret

// tokenRegistry is a registry with a token server. All tokens end with every
// request that life divides; anonymous ones open nothing unless public.
type tokenRegistry struct {
	*httptest.Server
	data   []byte
	life   int
	public bool

	mu       sync.Mutex
	good     map[string]bool
	issued   int
	scopes   []string
	requests int
	noAuth   int // requests without Authorization
}

func newTokenRegistry(t *testing.T, data []byte, life int) *tokenRegistry {
	r := &tokenRegistry{data: data, life: life, good: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("/token", r.token)
	mux.HandleFunc("/v2/", r.blob)
	r.Server = httptest.NewServer(mux)
	t.Cleanup(r.Close)
	return r
}

func (r *tokenRegistry) token(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.scopes = append(r.scopes, req.URL.Query()["scope"]...)
	auth := req.Header.Get("Authorization")
	if auth != "" && auth != userPassword {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}`))
		return
	}
	r.issued++
	tok := fmt.Sprintf("token-%d", r.issued)
	if auth != "" || r.public {
		r.good[tok] = true
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"token": tok, "expires_in": 300})
}

func (r *tokenRegistry) blob(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.requests++
	auth := req.Header.Get("Authorization")
	if auth == "" {
		r.noAuth++
	}
	tok := auth[min(len(auth), len("Bearer ")):]
	if r.requests%r.life == 0 {
		clear(r.good)
	}
	ok := r.good[tok]
	r.mu.Unlock()
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+r.URL+`/token",service="test",scope="repository:lib/app:pull"`)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication\nrequired"}]}`))
		return
	}
	ranged(r.data)(w, req)
}

func (r *tokenRegistry) counts() (issued, requests, noAuth int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.issued, r.requests, r.noAuth
}

func TestBasicCredentialsAreExchanged(t *testing.T) {
	r := newTokenRegistry(t, content(1000), 100)
	c := newClient(t, testConfig(r.Server))
	src := sourceOf(r.Server, r.data)
	src.Authorization = userPassword
	for range 3 {
		wantWhole(t, open(t, c, src), r.data)
	}
	issued, requests, noAuth := r.counts()
	if d := cmp.Diff([]int{1, 4, 1}, []int{issued, requests, noAuth}); d != "" {
		t.Errorf("tokens, requests, requests that were challenged (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"repository:lib/app:pull"}, r.scopes); d != "" {
		t.Errorf("scopes (-want +got):\n%s", d)
	}
}

func TestTokenIsRenewedMidBlob(t *testing.T) {
	data := content(6 * chunk.Size)
	r := newTokenRegistry(t, data, 4)
	c := newClient(t, testConfig(r.Server))
	src := sourceOf(r.Server, data)
	src.Authorization = userPassword
	b := open(t, c, src)
	for i := range chunk.Count(b.Size()) {
		if _, err := readRange(b, int64(i)*chunk.Size, chunk.Size); err != nil {
			t.Error(err)
		}
	}
	if issued, _, _ := r.counts(); issued < 2 {
		t.Errorf("%d tokens issued, want several", issued)
	}
}

// TestOneRenewalForAll: when a token ends under many requests, one new one
// serves them all.
func TestOneRenewalForAll(t *testing.T) {
	data := content(9 * chunk.Size)
	r := newTokenRegistry(t, data, 1000)
	src := sourceOf(r.Server, data)
	src.Authorization = userPassword
	b := open(t, newClient(t, testConfig(r.Server)), src)
	r.mu.Lock()
	clear(r.good)
	r.mu.Unlock()
	var wg sync.WaitGroup
	for i := 1; i < chunk.Count(b.Size()); i++ {
		wg.Go(func() {
			if _, err := readRange(b, int64(i)*chunk.Size, chunk.Size); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if issued, _, _ := r.counts(); issued != 2 {
		t.Errorf("%d tokens issued, want 2", issued)
	}
}

func TestBearerIsFinal(t *testing.T) {
	r := newTokenRegistry(t, content(10), 100)
	c := newClient(t, testConfig(r.Server))
	src := sourceOf(r.Server, r.data)
	src.Authorization = "Bearer stale"
	_, err := c.Open(context.Background(), src)
	var refused *distribution.OriginError
	if !errors.As(err, &refused) || refused.Status != 401 || len(refused.Challenge) != 1 || refused.Message != "authentication required" {
		t.Errorf("got %#v, want the registry's 401", err)
	}
	if issued, requests, _ := r.counts(); issued != 0 || requests != 1 {
		t.Errorf("%d tokens, %d requests; want none and one", issued, requests)
	}
}

func TestRefusedCredentials(t *testing.T) {
	r := newTokenRegistry(t, content(10), 100)
	c := newClient(t, testConfig(r.Server))
	for name, auth := range map[string]string{
		"anonymous":      "",
		"wrong password": "Basic dXNlcjp3cm9uZw==",
		"not base64":     "Basic %%%",
	} {
		src := sourceOf(r.Server, r.data)
		src.Authorization = auth
		_, err := c.Open(context.Background(), src)
		var refused *distribution.OriginError
		if !errors.As(err, &refused) || refused.Status != 401 {
			t.Errorf("%s: got %v, want a 401", name, err)
			continue
		}
		if name != "not base64" && len(refused.Challenge) != 1 {
			t.Errorf("%s: the challenge is lost", name)
		}
	}
}

func TestAnonymousTokenOfAPublicRepository(t *testing.T) {
	r := newTokenRegistry(t, content(10), 100)
	r.public = true
	c := newClient(t, testConfig(r.Server))
	wantWhole(t, open(t, c, sourceOf(r.Server, r.data)), r.data)
	size, err := c.Stat(context.Background(), sourceOf(r.Server, r.data))
	if err != nil || size != 10 {
		t.Errorf("Stat: %d, %v", size, err)
	}
}

// TestNodeCredentials: only a call that says so, or a registry that lends them,
// uses them.
func TestNodeCredentials(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	docker := filepath.Join(t.TempDir(), "config.json")
	r := newTokenRegistry(t, content(10), 100)
	if err := os.WriteFile(docker, []byte(`{"auths":{"`+hostOf(r.Server)+`":{"auth":"dXNlcjpzZWNyZXQ="}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		set    func(*Config)
		auth   string
		accept bool
	}{
		{"password file", func(c *Config) { c.Registries[0].Username, c.Registries[0].PasswordFile = "user", password }, distribution.NodeCredentials, true},
		{"docker config", func(c *Config) { c.DockerConfig = docker }, distribution.NodeCredentials, true},
		{"none configured", func(*Config) {}, distribution.NodeCredentials, false},
		{"not lent", func(c *Config) { c.DockerConfig = docker }, "", false},
		{"lent", func(c *Config) { c.DockerConfig, c.Registries[0].LendCredentials = docker, true }, "", true},
		{"lent, but the caller has its own", func(c *Config) { c.DockerConfig, c.Registries[0].LendCredentials = docker, true }, "Bearer own", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := testConfig(r.Server)
			tt.set(&cfg)
			src := sourceOf(r.Server, r.data)
			src.Authorization = tt.auth
			b, err := newClient(t, cfg).Open(context.Background(), src)
			if (err == nil) != tt.accept {
				t.Fatalf("accepted: %t (%v), want %t", err == nil, err, tt.accept)
			}
			if b != nil {
				b.Close()
			}
		})
	}
}

func TestBasicRegistry(t *testing.T) {
	data := content(500)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != userPassword {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		ranged(data)(w, r)
	})
	src := sourceOf(s, data)
	src.Authorization = userPassword
	wantWhole(t, open(t, newClient(t, testConfig(s)), src), data)
}

// TestCredentialHelper: config.json may name a program that knows.
func TestCredentialHelper(t *testing.T) {
	r := newTokenRegistry(t, content(10), 100)
	dir := t.TempDir()
	helper := "#!/bin/sh\nread host\necho x >> " + dir + "/asked\n" +
		`echo "{\"ServerURL\":\"$host\",\"Username\":\"user\",\"Secret\":\"secret\"}"` + "\n"
	config := `{"credHelpers":{"` + hostOf(r.Server) + `":"shoaltest"}}`
	for name, text := range map[string]string{"docker-credential-shoaltest": helper, "config.json": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	cfg := testConfig(r.Server)
	cfg.DockerConfig = filepath.Join(dir, "config.json")
	c := newClient(t, cfg)
	src := sourceOf(r.Server, r.data)
	src.Authorization = distribution.NodeCredentials
	for range 3 {
		wantWhole(t, open(t, c, src), r.data)
	}
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	if err != nil || len(asked) != len("x\n") {
		t.Errorf("the helper was asked %d times (%v), want once", len(asked)/2, err)
	}
}

// TestTokenServerElsewhere: a configured registry may keep its token server at
// another private address.
func TestTokenServerElsewhere(t *testing.T) {
	data := content(10)
	tokens := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(`{"access_token":"t"}`)) })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+tokens.URL+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		ranged(data)(w, r)
	})
	wantWhole(t, open(t, newClient(t, testConfig(s)), sourceOf(s, data)), data)
}

// TestTokenServerInTrouble: a passing failure of the token server is waited out.
func TestTokenServerInTrouble(t *testing.T) {
	data := content(10)
	var n atomic.Int32
	var s *httptest.Server
	s = serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token" && n.Add(1) < 3:
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/token":
			_, _ = w.Write([]byte(`{"token":"t","expires_in":1}`))
		case r.Header.Get("Authorization") != "Bearer t":
			w.Header().Set("WWW-Authenticate", `Bearer realm="`+s.URL+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			ranged(data)(w, r)
		}
	})
	wantWhole(t, open(t, newClient(t, testConfig(s)), sourceOf(s, data)), data)
}
