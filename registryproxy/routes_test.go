package registryproxy

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shoal-project/shoal/chunk"
)

const ociManifest = "application/vnd.oci.image.manifest.v1+json"

// image stores a config, layers and a manifest, and returns its bytes.
func (o *origin) image(t *testing.T, name, tag string, layers ...[]byte) []byte {
	t.Helper()
	config := []byte(`{"architecture":"amd64"}`)
	list := make([]string, len(layers))
	for i, l := range layers {
		d := o.put(t, name+"/blobs", "", l)
		list[i] = `{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":` + strconv.Itoa(len(l)) + `,"digest":"` + d.String() + `"}`
	}
	d := o.put(t, name+"/blobs", "", config)
	m := `{"schemaVersion":2,"mediaType":"` + ociManifest + `","config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":` +
		strconv.Itoa(len(config)) + `,"digest":"` + d.String() + `"},"layers":[` + strings.Join(list, ",") + `]}`
	o.put(t, name+"/manifests/"+tag, ociManifest, []byte(m))
	return []byte(m)
}

func errorJSON(code, message string) string {
	return `{"errors":[{"code":"` + code + `","message":"` + message + `"}]}` + "\n"
}

func TestErrors(t *testing.T) {
	cfg := testConfig()
	cfg.Deny = []string{"evil.test", "origin.test/secret/**"}
	r := newRig(t, cfg)
	r.image(t, "org/app", "v1", []byte("layer"))
	zeros := strings.Repeat("0", 64)
	for _, tt := range []struct {
		name, method, path string
		status             int
		body               string
	}{
		{"ping", "GET", "/v2/", 200, "{}"},
		{"ping without slash", "GET", "/v2", 200, "{}"},
		{"no registry path", "GET", "/", 404, errorJSON("NAME_UNKNOWN", "this is a registry: its API begins at /v2/")},
		{"catalog", "GET", "/v2/_catalog", 404, errorJSON("UNSUPPORTED", "catalogues are not served: ask the origin itself")},
		{"catalog by prefix", "GET", "/v2/quay.io/_catalog", 404, errorJSON("UNSUPPORTED", "catalogues are not served: ask the origin itself")},
		{"upload", "POST", "/v2/org/app/blobs/uploads/", 405, errorJSON("UNSUPPORTED", pushHint)},
		{"put manifest", "PUT", "/v2/org/app/manifests/v1", 405, errorJSON("UNSUPPORTED", pushHint)},
		{"delete", "DELETE", "/v2/org/app/manifests/v1", 405, errorJSON("UNSUPPORTED", pushHint)},
		{"upload status", "GET", "/v2/org/app/blobs/uploads/x", 404, errorJSON("NAME_INVALID", "not a path of the distribution API")},
		{"nonsense", "GET", "/v2/org/app/nonsense", 404, errorJSON("NAME_INVALID", "not a path of the distribution API")},
		{"upper-case name", "GET", "/v2/Org/app/manifests/v1", 400, errorJSON("NAME_INVALID", "not a valid repository name")},
		{"dots", "GET", "/v2/org/..%2fapp/manifests/v1", 400, errorJSON("NAME_INVALID", "not a valid repository name")},
		{"bad namespace", "GET", "/v2/org/app/manifests/v1?ns=a%20b", 400, errorJSON("NAME_INVALID", "not a valid registry: write host or host:port")},
		{"bad tag", "GET", "/v2/org/app/manifests/-v1", 400, errorJSON("TAG_INVALID", "not a valid tag")},
		{"short digest", "GET", "/v2/org/app/manifests/sha256:00", 400, errorJSON("DIGEST_INVALID", "not a valid digest: write sha256: and 64 lower-case hexadecimal digits")},
		{"upper-case digest", "GET", "/v2/org/app/blobs/sha256:" + strings.Repeat("A", 64), 400, errorJSON("DIGEST_INVALID", "not a valid digest: write sha256: and 64 lower-case hexadecimal digits")},
		{"blob by name", "GET", "/v2/org/app/blobs/latest", 400, errorJSON("DIGEST_INVALID", "not a valid digest: write sha256: and 64 lower-case hexadecimal digits")},
		{"unknown tag", "GET", "/v2/org/app/manifests/v2", 404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"Unknown manifest"}]}`},
		{"unknown name", "GET", "/v2/org/other/manifests/v2", 404, `{"errors":[{"code":"NAME_UNKNOWN","message":"Unknown name"}]}`},
		{"unknown manifest", "GET", "/v2/org/app/manifests/sha256:" + zeros, 404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"Unknown manifest"}]}`},
		{"unknown blob", "GET", "/v2/org/app/blobs/sha256:" + zeros, 404, `{"errors":[{"code":"BLOB_UNKNOWN","message":"Unknown blob"}]}`},
		{"unknown blob, head", "HEAD", "/v2/org/app/blobs/sha256:" + zeros, 404, ""},
		{"unknown tag, head", "HEAD", "/v2/org/app/manifests/v2", 404, ""},
		{"tags of unknown name", "GET", "/v2/org/other/tags/list", 404, `{"errors":[{"code":"NAME_UNKNOWN","message":"Unknown name"}]}`},
		{"denied registry", "GET", "/v2/evil.test/app/manifests/v1", 403, errorJSON("DENIED", "this node's configuration does not permit evil.test/app")},
		{"denied repository", "GET", "/v2/secret/a/b/manifests/v1", 403, errorJSON("DENIED", "this node's configuration does not permit origin.test/secret/a/b")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := r.do(t, tt.method, tt.path)
			if got.status != tt.status || strings.TrimSpace(string(got.body)) != strings.TrimSpace(tt.body) {
				t.Errorf("%d %s, want %d %s", got.status, got.body, tt.status, tt.body)
			}
			if v := got.header.Get("Docker-Distribution-Api-Version"); v != "registry/2.0" {
				t.Errorf("API version %q", v)
			}
			if ct := got.header.Get("Content-Type"); ct != "application/json" {
				t.Errorf("content type %q", ct)
			}
			if got.length <= 0 {
				t.Errorf("content length %d", got.length)
			}
		})
	}
}

func TestHeaderTooLarge(t *testing.T) {
	r := newRig(t, testConfig())
	if got := r.get(t, "/v2/", "X-Large", strings.Repeat("x", 1<<20)); got.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d, want 431", got.status)
	}
}

func TestManifestAnswers(t *testing.T) {
	r := newRig(t, testConfig())
	body := r.image(t, "org/app", "v1", []byte("layer"))
	d := chunk.SumBytes(body)
	for _, ref := range []string{"v1", d.String()} {
		for range 2 { // cold and warm
			got := r.get(t, "/v2/org/app/manifests/"+ref)
			if got.status != 200 || !bytes.Equal(got.body, body) {
				t.Fatalf("%s: %d %s", ref, got.status, got.body)
			}
			head := r.do(t, "HEAD", "/v2/org/app/manifests/"+ref)
			if len(head.body) != 0 || head.status != 200 {
				t.Errorf("%s: HEAD has status %d and %d bytes", ref, head.status, len(head.body))
			}
			for _, h := range []http.Header{got.header, head.header} {
				h.Del("Date")
				want := http.Header{
					"Content-Type": {ociManifest}, "Content-Length": {strconv.Itoa(len(body))}, "Etag": {`"` + d.String() + `"`},
					"Docker-Content-Digest": {d.String()}, "Docker-Distribution-Api-Version": {"registry/2.0"},
				}
				if diff := cmp.Diff(want, h); diff != "" {
					t.Errorf("%s: header (-want +got):\n%s", ref, diff)
				}
			}
		}
		for _, inm := range []string{`"` + d.String() + `"`, `"x", W/"` + d.String() + `"`, "*"} {
			got := r.get(t, "/v2/org/app/manifests/"+ref, "If-None-Match", inm)
			if got.status != http.StatusNotModified || len(got.body) != 0 {
				t.Errorf("%s: If-None-Match %s: status %d", ref, inm, got.status)
			}
		}
		if got := r.get(t, "/v2/org/app/manifests/"+ref, "If-None-Match", `"other"`); got.status != 200 {
			t.Errorf("%s: other tag: status %d", ref, got.status)
		}
	}
}

func TestBlobRanges(t *testing.T) {
	r := newRig(t, testConfig())
	data := bytes.Repeat([]byte("0123456789"), 200)
	contents := map[string][]byte{"long": data, "one": {'x'}, "empty": {}}
	digests := make(map[string]chunk.Digest)
	for name, c := range contents {
		digests[name] = r.put(t, "org/app/blobs", "", c)
	}
	for _, tt := range []struct {
		blob, header string
		status       int
		off, n       int
	}{
		{"long", "", 200, 0, 2000},
		{"long", "bytes=0-0", 206, 0, 1},
		{"long", "bytes=5-1999", 206, 5, 1995},
		{"long", "bytes=5-9999", 206, 5, 1995},
		{"long", "bytes=600-", 206, 600, 1400},
		{"long", "BYTES=600-", 206, 600, 1400},
		{"long", "bytes=-3", 206, 1997, 3},
		{"long", "bytes=-5000", 206, 0, 2000},
		{"long", "bytes=1999-99999999999999999999999", 206, 1999, 1},
		{"long", "bytes=2000-", 416, 0, 0},
		{"long", "bytes=99999999999999999999999-", 416, 0, 0},
		{"long", "bytes=-0", 416, 0, 0},
		{"long", "bytes=5-2", 200, 0, 2000},
		{"long", "bytes=0-1,5-6", 200, 0, 2000},
		{"long", "bytes=a-b", 200, 0, 2000},
		{"long", "bytes=-", 200, 0, 2000},
		{"long", "bytes", 200, 0, 2000},
		{"long", "chunks=0-1", 200, 0, 2000},
		{"long", "bytes=+1-2", 200, 0, 2000},
		{"one", "", 200, 0, 1},
		{"one", "bytes=0-", 206, 0, 1},
		{"one", "bytes=1-", 416, 0, 0},
		{"empty", "", 200, 0, 0},
		{"empty", "bytes=0-0", 416, 0, 0},
		{"empty", "bytes=-1", 416, 0, 0},
	} {
		t.Run(tt.blob+" "+tt.header, func(t *testing.T) {
			want, d := contents[tt.blob], digests[tt.blob]
			got := r.get(t, "/v2/org/app/blobs/"+d.String(), "Range", tt.header)
			if got.status != tt.status || got.err != nil {
				t.Fatalf("status %d, want %d; %v", got.status, tt.status, got.err)
			}
			size := strconv.Itoa(len(want))
			switch cr := got.header.Get("Content-Range"); {
			case tt.status == 416:
				if cr != "bytes */"+size || string(got.body) != errorJSON("RANGE_INVALID", "the range lies outside the blob") {
					t.Errorf("Content-Range %q, body %s", cr, got.body)
				}
				return
			case tt.status == 206 && cr != "bytes "+strconv.Itoa(tt.off)+"-"+strconv.Itoa(tt.off+tt.n-1)+"/"+size, tt.status == 200 && cr != "":
				t.Errorf("Content-Range %q", cr)
			}
			if !bytes.Equal(got.body, want[tt.off:tt.off+tt.n]) || got.length != int64(tt.n) {
				t.Errorf("%d bytes, length %d, want %d", len(got.body), got.length, tt.n)
			}
			for k, v := range map[string]string{
				"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", "Docker-Content-Digest": d.String(), "Etag": `"` + d.String() + `"`,
			} {
				if got.header.Get(k) != v {
					t.Errorf("%s is %q, want %q", k, got.header.Get(k), v)
				}
			}
		})
	}
	t.Run("If-Range", func(t *testing.T) {
		path := "/v2/org/app/blobs/" + digests["long"].String()
		if got := r.get(t, path, "Range", "bytes=0-1", "If-Range", `"other"`); got.status != 200 {
			t.Errorf("another tag: status %d", got.status)
		}
		if got := r.get(t, path, "Range", "bytes=0-1", "If-Range", etag(digests["long"])); got.status != 206 {
			t.Errorf("same tag: status %d", got.status)
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		got := r.do(t, "HEAD", "/v2/org/app/blobs/"+digests["long"].String(), "Range", "bytes=0-1")
		if got.status != 200 || got.length != 2000 {
			t.Errorf("status %d, length %d", got.status, got.length)
		}
	})
}
