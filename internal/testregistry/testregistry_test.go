package testregistry

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/shoal-project/shoal/internal/testimage"
)

func TestParseLogReadsOnlyWholeRequestLines(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	text := `time="2026-11-22T01:54:17Z" level=error msg="GET /v2/ HTTP/1.1\" 200 5"
127.0.0.1 - - [22/Nov/2026:01:54:17 +0000] "GET /v2/a/blobs/` + digest + ` HTTP/1.1" 206 100 "" "x \"quoted\" agent"
10.0.0.1 - bob [22/Nov/2026:01:54:17 +0000] "GET /v2/a/b/blobs/` + digest + ` HTTP/1.1" 404 157 "" "curl"
10.0.0.1 - - [22/Nov/2026:01:54:17 +0000] "HEAD /v2/a/b/blobs/` + digest + ` HTTP/1.1" 200 - "" "curl"
10.0.0.1 - - [22/Nov/2026:01:54:17 +0000] "GET /v2/a/manifests/v1 HTTP/1.1" 200 99 "" "curl"
10.0.0.1 - - [22/Nov/2026:01:54:17 +0000] "GET /v2/a/blobs/` + digest + ` HTTP/1.1" 200 7 "" "cut sho`
	log, err := ParseLog(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(log) != 4 {
		t.Errorf("%d requests, want 4: %v", len(log), log)
	}
	if diff := cmp.Diff(map[string]int64{digest: 100}, log.BlobBytes()); diff != "" {
		t.Errorf("bytes (-want +got):\n%s", diff)
	}
	if log.Blobs(http.MethodHead, digest) != 1 || log.Manifests(http.MethodGet) != 1 {
		t.Errorf("counts are wrong: %v", log)
	}
}

func FuzzParseLog(f *testing.F) {
	f.Add(`h - - [x] "GET /v2/ HTTP/1.1" 200 5 "" ""` + "\n")
	f.Add("\n\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		log, err := ParseLog(strings.NewReader(text))
		if err != nil || len(log) > strings.Count(text, "\n") {
			t.Errorf("%d requests of %d lines, %v", len(log), strings.Count(text, "\n"), err)
		}
	})
}

func TestHtpasswdAdmitsOnlyItsUsers(t *testing.T) {
	r := startDebian(t, map[string]string{"ann": "right"})
	img, err := testimage.Layered(1, 1, testimage.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	push := func(password string) error {
		auth := remote.WithAuth(&authn.Basic{Username: "ann", Password: password})
		return testimage.Push(t.Context(), r.Host()+"/p/q:v1", img, auth)
	}
	if err := push("wrong"); err == nil {
		t.Error("a wrong password was accepted")
	}
	if err := push("right"); err != nil {
		t.Error(err)
	}
	resp, _ := get(t, http.MethodGet, "http://"+r.Host()+"/v2/p/q/manifests/v1", "")
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("an anonymous caller gets %d, want 401", resp.StatusCode)
	}
}

func TestLogSinceAMark(t *testing.T) {
	r := startDebian(t, nil)
	mark, err := r.Mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	get(t, http.MethodGet, "http://"+r.Host()+"/v2/no/such/manifests/v1", "")
	log, err := r.Log(t.Context(), mark)
	if err != nil {
		t.Fatal(err)
	}
	if len(log) != 1 || log[0].Status != http.StatusNotFound {
		t.Errorf("since the mark: %v, want the one 404", log)
	}
}

func TestPlacedLayersAreServedAndSparse(t *testing.T) {
	r := startDebian(t, nil)
	const size = 64 << 20
	l, err := testimage.Huge(1, size)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Place("big/one", l); err != nil {
		t.Fatal(err)
	}
	digest, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(fmt.Sprintf("http://%s/v2/big/one/blobs/%s", r.Host(), digest))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || len(body) != size {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	info, err := os.Stat(filepath.Join(r.dataDir(), "docker/registry/v2/blobs/sha256", digest.Hex[:2], digest.Hex, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if used := info.Sys().(*syscall.Stat_t).Blocks * 512; used > size/8 {
		t.Errorf("%d bytes on disk for %d of mostly zeros", used, size)
	}
}

func TestGateStopsAtTheByteAndGoesOn(t *testing.T) {
	const size, budget = 1 << 20, 12345
	e, err := NewEmbedded(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	gate := NewGate(budget)
	server := httptest.NewServer(gate.Wrap(e))
	defer server.Close()
	img, digest, content := blob(t, size)
	host := strings.TrimPrefix(server.URL, "http://")
	if err := testimage.Push(t.Context(), host+"/g:v1", img); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(server.URL + "/v2/g/blobs/" + digest)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, budget)
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	if err := gate.AwaitSent(t.Context(), budget); err != nil {
		t.Fatal(err)
	}
	if gate.Sent() != budget {
		t.Errorf("%d bytes passed, want exactly %d", gate.Sent(), budget)
	}
	gate.Allow(5)
	gate.Open()
	rest, err := io.ReadAll(resp.Body)
	if err != nil || string(first)+string(rest) != string(content) {
		t.Errorf("%d bytes in all, %v; want the %d of the blob", len(first)+len(rest), err, size)
	}
	if gate.Sent() != size {
		t.Errorf("%d bytes passed, want %d", gate.Sent(), size)
	}
}
