//go:build e2e && linux

package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

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
