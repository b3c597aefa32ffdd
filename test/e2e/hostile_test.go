//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/testimage"
)

// ask sends a request as it stands and returns status and body.
func ask(t *testing.T, p *peer, method, path string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.registry+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(body)
}

// ociCode is the error code of an OCI error body, or "".
func ociCode(body string) string {
	var e struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal([]byte(body), &e) != nil || len(e.Errors) == 0 || e.Errors[0].Message == "" {
		return ""
	}
	return e.Errors[0].Code
}

func TestBadRequestsGetClearAnswers(t *testing.T) {
	img := must(testimage.Random(8, 1, 1<<20))(t)
	g := startGated(t, 0)
	g.push(t, "some/image:v1", img)
	g.Open()
	p := startPeer(t, loopback(), nil, g.reach())
	layer := layerOf(t, img)
	repo := "/v2/" + escaped(g.host()) + "/some/image"
	blob := repo + "/blobs/" + layer.Digest.String()
	absent := "sha256:" + strings.Repeat("0", 64)
	for _, c := range []struct {
		what, method, path string
		header             []string
		status             []int // any of them
		code               string
	}{
		{"unknown repository", "GET", "/v2/" + escaped(g.host()) + "/no/such/manifests/v1", nil, []int{404}, "any"},
		{"unknown tag", "GET", repo + "/manifests/none", nil, []int{404}, "any"},
		{"unknown manifest", "GET", repo + "/manifests/" + absent, nil, []int{404}, "any"},
		{"unknown blob", "GET", repo + "/blobs/" + absent, nil, []int{404}, "any"},
		{"short digest", "GET", repo + "/blobs/sha256:abc", nil, []int{400}, "DIGEST_INVALID"},
		{"upper-case digest", "GET", repo + "/blobs/sha256:" + strings.Repeat("A", 64), nil, []int{400}, "DIGEST_INVALID"},
		{"no digest", "GET", repo + "/blobs/latest", nil, []int{400}, "DIGEST_INVALID"},
		{"bad tag", "GET", repo + "/manifests/-bad", nil, []int{400}, "any"},
		{"bad repository", "GET", "/v2/" + escaped(g.host()) + "/UPPER/x/manifests/v1", nil, []int{400, 404}, "NAME_INVALID"},
		{"dots", "GET", "/v2/" + escaped(g.host()) + "/a/..%2f..%2fb/manifests/v1", nil, []int{400, 404}, "any"},
		{"private address", "GET", "/v2/127.0.0.1_1/x/manifests/v1", nil, []int{400, 403, 404}, "any"},
		{"metadata address", "GET", "/v2/169.254.169.254/x/manifests/v1", nil, []int{400, 403, 404}, "any"},
		{"push", "POST", repo + "/blobs/uploads/", nil, []int{404, 405}, "UNSUPPORTED"},
		{"delete", "DELETE", repo + "/manifests/v1", nil, []int{404, 405}, "UNSUPPORTED"},
		{"range past the end", "GET", blob, []string{"Range", "bytes=9999999-"}, []int{416}, ""},
		{"range of words", "GET", blob, []string{"Range", "bytes=a-b"}, []int{200, 416}, ""},
		{"range backwards", "GET", blob, []string{"Range", "bytes=5-1"}, []int{200, 416}, ""},
		{"range overflow", "GET", blob, []string{"Range", "bytes=99999999999999999999-"}, []int{200, 416}, ""},
		{"range of nothing", "GET", blob, []string{"Range", "bytes=-0"}, []int{200, 416}, ""},
		{"1 MB header", "GET", blob, []string{"X-Large", strings.Repeat("x", 1<<20)}, []int{431}, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			status, body := ask(t, p, c.method, c.path, c.header...)
			if !slices.Contains(c.status, status) {
				t.Errorf("status %d, want one of %v: %.300s", status, c.status, body)
			}
			if got := ociCode(body); c.code == "any" && got == "" || c.code != "any" && c.code != "" && got != c.code {
				t.Errorf("error code %q, want %s: %.300s", got, c.code, body)
			}
		})
	}
	t.Run("good ranges", func(t *testing.T) {
		whole, from := layer.Size, layer.Size-100
		for ranges, want := range map[string]int64{
			"bytes=0-0": 1, "bytes=-100": 100, fmt.Sprintf("bytes=%d-", from): 100, fmt.Sprintf("bytes=0-%d", whole*2): whole,
		} {
			status, body := ask(t, p, "GET", blob, "Range", ranges)
			if status != http.StatusPartialContent || int64(len(body)) != want {
				t.Errorf("%s: status %d, %d bytes; want 206, %d", ranges, status, len(body), want)
			}
		}
	})
	if err := p.puller(t, g.host()).pullWhole(t.Context(), "some/image", "v1", img); err != nil {
		t.Errorf("and after all that: %v", err)
	}
}

// tamper changes the bodies of an origin's blob answers while on is true.
func tamper(on *atomic.Bool, change func(body *tamperedBody)) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if on.Load() && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
				b := &tamperedBody{ResponseWriter: w}
				change(b)
				w = b
			}
			next.ServeHTTP(w, r)
		})
	}
}

// tamperedBody is one answer on its way through an origin that lies.
type tamperedBody struct {
	http.ResponseWriter
	flip     bool  // every 100,000th byte is wrong
	cutAfter int64 // when positive, the connection breaks there
	extra    int64 // the stated total length is more by this
	sent     int64
}

func (b *tamperedBody) WriteHeader(status int) {
	if h := b.Header(); b.extra != 0 {
		var from, to, total int64
		if _, err := fmt.Sscanf(h.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &total); err == nil {
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to, total+b.extra))
		} else if _, err := fmt.Sscan(h.Get("Content-Length"), &total); err == nil {
			h.Set("Content-Length", fmt.Sprint(total+b.extra))
		}
	}
	b.ResponseWriter.WriteHeader(status)
}

func (b *tamperedBody) Write(p []byte) (int, error) {
	if b.cutAfter > 0 && b.sent+int64(len(p)) > b.cutAfter {
		panic(http.ErrAbortHandler)
	}
	if b.flip {
		p = append([]byte(nil), p...)
		for i := range p {
			if (b.sent+int64(i))%100_000 == 99_999 {
				p[i] ^= 1
			}
		}
	}
	n, err := b.ResponseWriter.Write(p)
	b.sent += int64(n)
	return n, err
}

func (b *tamperedBody) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func TestOriginThatLies(t *testing.T) {
	const size = 24 << 20
	for what, change := range map[string]func(*tamperedBody){
		"wrong bytes":    func(b *tamperedBody) { b.flip = true },
		"cut short":      func(b *tamperedBody) { b.cutAfter = 1 << 20 },
		"length too big": func(b *tamperedBody) { b.extra = 4096 },
	} {
		t.Run(what, func(t *testing.T) {
			var lying atomic.Bool
			img := must(testimage.Random(10, 1, size))(t)
			g := startGated(t, 0, tamper(&lying, change))
			g.push(t, "lie/image:v1", img)
			g.Open()
			super := startSupernode(t, loopback(), "supernode", g.reach())
			for _, s := range []*supernode{super, nil} {
				p := startPeer(t, loopback(), s, g.reach(), with("origin.retries", 1))
				lying.Store(true)
				layer := layerOf(t, img)
				if err := p.puller(t, g.host()).blob(t.Context(), "lie/image", layer); err == nil && what != "cut short" {
					t.Error("the lie was delivered as the truth")
				}
				lying.Store(false)
				if err := p.puller(t, g.host()).pullWhole(t.Context(), "lie/image", "v1", img); err != nil {
					t.Errorf("when the origin is honest again: %v", err)
				}
			}
		})
	}
}

func TestCredentials(t *testing.T) {
	o := startOrigins(t)
	img := must(testimage.Random(11, 2, 8<<20))(t)
	o.push(t, "secret/image:v1", img)
	reach := o.reach()
	super := startSupernode(t, loopback(), "supernode", reach)
	p := startPeer(t, loopback(), super, reach)
	as := func(user, password string) *puller {
		c := p.puller(t, o.private.Host())
		if user != "" {
			c.auth = basic(user, password)
		}
		return c
	}
	refused := func(when string) {
		t.Helper()
		for who, c := range map[string]*puller{"nobody": as("", ""), "a wrong password": as(userName, "wrong")} {
			for kind, reference := range map[string]string{"manifests": digestOf(t, img), "blobs": layerOf(t, img).Digest.String()} {
				resp, err := c.request(t.Context(), http.MethodGet, "secret/image", kind, reference)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusNotFound {
					t.Errorf("%s, %s with %s: status %s", when, kind, who, resp.Status)
				}
				if ociCode(string(body)) == "" {
					t.Errorf("%s, %s with %s: no OCI error: %.200s", when, kind, who, body)
				}
			}
		}
	}
	refused("before anybody pulled")
	resp, err := as("", "").request(t.Context(), http.MethodGet, "secret/image", "manifests", "v1")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(resp.Header.Get("Www-Authenticate"), "Basic") {
		t.Errorf("nobody is told %s, challenge %q; want 401 with the origin's", resp.Status, resp.Header.Get("Www-Authenticate"))
	}
	if err := as(userName, password).pullWhole(t.Context(), "secret/image", "v1", img); err != nil {
		t.Fatal(err)
	}
	refused("after the right user pulled")
	other := startPeer(t, loopback(), super, reach)
	c := other.puller(t, o.private.Host())
	c.auth = basic(userName, password)
	if err := c.pullWhole(t.Context(), "secret/image", "v1", img); err != nil {
		t.Errorf("the right user on another peer: %v", err)
	}
	checkSecrets(t, super.process, p.process, other.process)
}

func basic(user, password string) string {
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth(user, password)
	return req.Header.Get("Authorization")
}

// checkSecrets looks for the password in what daemons logged.
func checkSecrets(t *testing.T, processes ...*process) {
	t.Helper()
	encoded := strings.TrimPrefix(basic(userName, password), "Basic ")
	for _, p := range processes {
		for _, secret := range []string{password, encoded} {
			if found := linesWith(p.log, secret, p.name); len(found) > 0 {
				t.Errorf("a credential was logged: %v", found)
			}
		}
	}
}

func TestWrongNetworkKeyKeepsANodeOutButNotItsPulls(t *testing.T) {
	img := must(testimage.Random(12, 1, 16<<20))(t)
	g := startGated(t, 0)
	g.push(t, "some/image:v1", img)
	g.Open()
	super := startSupernode(t, loopback(), "supernode", g.reach())
	stranger := newPeer(t, loopback(), super, g.reach(), with("network_key", newNetworkKey(t, directory(t))))
	stranger.probe = "/healthz" // it is not ready: its supernode refuses it
	stranger.run(t)
	if err := stranger.puller(t, g.host()).pullWhole(t.Context(), "some/image", "v1", img); err != nil {
		t.Error(err)
	}
	checkNothingHeld(t, super, layerOf(t, img))
}

// checkNothingHeld asserts that the supernode never had a layer.
func checkNothingHeld(t *testing.T, s *supernode, d v1.Descriptor) {
	t.Helper()
	if found := command(t, nil, "find", s.dir+"/data", "-name", "*"+d.Digest.Hex+"*"); found != "" {
		t.Errorf("the supernode worked for a stranger: it has %s", found)
	}
}
