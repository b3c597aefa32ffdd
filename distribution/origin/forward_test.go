package origin

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/distribution"
)

func TestForwardGivesTheAnswer(t *testing.T) {
	for _, status := range []int{200, 206, 304, 400, 403, 404, 416, 429, 500, 503} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.String() != "/v2/lib/app/tags/list?n=5" {
				t.Errorf("asked for %s", r.URL)
			}
			if r.Header.Get("Accept") != "text/x" || r.Header.Get("If-None-Match") != `"e"` || r.Header.Get("X-Other") != "" {
				t.Errorf("header %v", r.Header)
			}
			w.Header().Set("Link", "next")
			w.WriteHeader(status)
			if status != 304 {
				_, _ = io.WriteString(w, "body")
			}
		})
		resp, err := newClient(t, testConfig(s)).Forward(context.Background(), distribution.Request{
			Method: http.MethodGet, Registry: hostOf(s), Repository: "lib/app", Path: "tags/list",
			Query:  url.Values{"n": {"5"}},
			Header: http.Header{"Accept": {"text/x"}, "If-None-Match": {`"e"`}, "X-Other": {"1"}},
		})
		if err != nil {
			t.Errorf("%d: %v", status, err)
			continue
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != status || resp.Header.Get("Link") != "next" || err != nil || status != 304 && string(body) != "body" {
			t.Errorf("%d: got %s, %q, %v", status, resp.Status, body, err)
		}
	}
}

// TestForwardHandsTheChallengeBack: without credentials of its own the caller
// gets the registry's challenge, and no token is asked for on its behalf.
func TestForwardHandsTheChallengeBack(t *testing.T) {
	r := newTokenRegistry(t, content(10), 100)
	r.public = true
	c := newClient(t, testConfig(r.Server))
	for auth, want := range map[string]int{"": 401, "Bearer stale": 401, userPassword: 200} {
		resp, err := c.Forward(context.Background(), distribution.Request{
			Method: http.MethodHead, Registry: hostOf(r.Server), Repository: "lib/app", Path: "manifests/latest", Authorization: auth,
		})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%q: %s, want %d", auth, resp.Status, want)
		}
		if want == 401 && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), `Bearer realm="`+r.URL) {
			t.Errorf("%q: challenge %q", auth, resp.Header.Get("WWW-Authenticate"))
		}
	}
	if issued, _, _ := r.counts(); issued != 1 {
		t.Errorf("%d tokens issued, want 1: for the caller with a password", issued)
	}
}

func TestForwardRefuses(t *testing.T) {
	var asked atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1) })
	good := distribution.Request{Method: http.MethodGet, Registry: hostOf(s), Repository: "a/b", Path: "tags/list"}
	for name, spoil := range map[string]func(*distribution.Request){
		"method":       func(r *distribution.Request) { r.Method = http.MethodPut },
		"registry":     func(r *distribution.Request) { r.Registry = "a/b" },
		"repository":   func(r *distribution.Request) { r.Repository = "a/../b" },
		"empty":        func(r *distribution.Request) { r.Repository = "" },
		"path":         func(r *distribution.Request) { r.Path = "../../admin" },
		"escaped path": func(r *distribution.Request) { r.Path = "%2e%2e/x" },
		"query":        func(r *distribution.Request) { r.Path = "tags/list?x" },
		"header":       func(r *distribution.Request) { r.Authorization = "Bearer a\r\nX: y" },
	} {
		r := good
		spoil(&r)
		resp, err := newClient(t, testConfig(s)).Forward(context.Background(), r)
		var refused *distribution.OriginError
		if !errors.As(err, &refused) {
			t.Errorf("%s: got %v, %v, want an OriginError", name, resp, err)
		}
	}
	if asked.Load() != 0 {
		t.Errorf("%d requests went out", asked.Load())
	}
}

func TestForwardFollowsBlobRedirects(t *testing.T) {
	data := content(1000)
	st, cfg := newSignedStorage(t, data, 1, 403)
	resp, err := newClient(t, cfg).Forward(context.Background(), distribution.Request{
		Method: http.MethodGet, Registry: st.registry, Repository: "lib/app", Path: "blobs/sha256:0", Authorization: "Bearer mine",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if d := cmp.Diff(data, got); err != nil || d != "" {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	if st.leaked.Load() {
		t.Error("the Authorization header went to another host")
	}
}
