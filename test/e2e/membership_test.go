//go:build e2e && linux

package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/internal/testimage"
)

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
