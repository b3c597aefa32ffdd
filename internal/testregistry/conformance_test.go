package testregistry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/shoal-project/shoal/internal/testimage"
)

// running is what the two registries have in common.
type running struct {
	host string
	log  func() Log // all so far
}

func startDebian(t *testing.T, users map[string]string) *Debian {
	t.Helper()
	if _, err := exec.LookPath(Program); err != nil {
		t.Skipf("SKIP: %s is not installed (apt-get install %s)", Program, Program)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r, err := StartDebian(ctx, Options{Dir: t.TempDir(), Users: users})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func eachRegistry(t *testing.T, test func(*testing.T, running)) {
	t.Run("debian", func(t *testing.T) {
		r := startDebian(t, nil)
		test(t, running{host: r.Host(), log: func() Log {
			log, err := r.Log(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			return log
		}})
	})
	t.Run("embedded", func(t *testing.T) {
		e, err := NewEmbedded(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(e)
		t.Cleanup(server.Close)
		test(t, running{host: strings.TrimPrefix(server.URL, "http://"), log: func() Log {
			server.Close() // waits for requests under way
			return e.Log()
		}})
	})
}

// blob is one layer and its bytes.
func blob(t *testing.T, size int64) (v1.Image, string, []byte) {
	t.Helper()
	l, err := testimage.RandomBlob(3, size)
	if err != nil {
		t.Fatal(err)
	}
	img, err := testimage.Assemble(testimage.OCI, testimage.Config{}, l)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Compressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return img, digest.String(), content
}

func get(t *testing.T, method, url, ranges string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if ranges != "" {
		req.Header.Set("Range", ranges)
	}
	for _, mediaType := range []types.MediaType{types.OCIImageIndex, types.OCIManifestSchema1} {
		req.Header.Add("Accept", string(mediaType))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	// docker-registry 2.8 gives a 416 the Content-Length of the whole blob.
	if err != nil && resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Fatal(err)
	}
	return resp, body
}

func TestRangesAreAnsweredAndCountedToTheByte(t *testing.T) {
	const size = 3<<20 + 17
	img, digest, content := blob(t, size)
	eachRegistry(t, func(t *testing.T, r running) {
		if err := testimage.Push(t.Context(), r.host+"/a/b:v1", img); err != nil {
			t.Fatal(err)
		}
		url := fmt.Sprintf("http://%s/v2/a/b/blobs/%s", r.host, digest)
		var want int64
		for _, c := range []struct {
			ranges   string
			from, to int // [from, to); status 416 when to is 0
		}{
			{"", 0, size}, {"bytes=0-0", 0, 1}, {"bytes=5-104", 5, 105}, {"bytes=0-1048575", 0, 1 << 20},
			{"bytes=3145728-", 3 << 20, size}, {"bytes=-10", size - 10, size}, {"bytes=3145728-9999999", 3 << 20, size},
			{"bytes=9999999-", 0, 0},
		} {
			resp, body := get(t, http.MethodGet, url, c.ranges)
			switch {
			case c.to == 0:
				if resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
					t.Errorf("%s: status %d, want 416", c.ranges, resp.StatusCode)
				}
			case !bytes.Equal(body, content[c.from:c.to]):
				t.Errorf("%s: %d bytes, status %d: not the bytes [%d,%d)", c.ranges, len(body), resp.StatusCode, c.from, c.to)
			}
			want += int64(c.to - c.from)
		}
		resp, _ := get(t, http.MethodHead, url, "")
		if resp.ContentLength != size {
			t.Errorf("HEAD says %d bytes, want %d", resp.ContentLength, size)
		}
		log := r.log()
		if diff := cmp.Diff(map[string]int64{digest: want}, log.BlobBytes()); diff != "" {
			t.Errorf("bytes by blob (-want +got):\n%s", diff)
		}
		if got := log.Blobs(http.MethodGet, digest); got != 8 {
			t.Errorf("%d GETs of the blob, want 8", got)
		}
		if log.TotalBlobBytes() != want {
			t.Errorf("total %d, want %d", log.TotalBlobBytes(), want)
		}
	})
}

func TestPushedImagesComeBackWhole(t *testing.T) {
	img, err := testimage.Layered(5, 8, testimage.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	index, err := testimage.Index(testimage.OCI, img)
	if err != nil {
		t.Fatal(err)
	}
	items, err := testimage.Items(index)
	if err != nil {
		t.Fatal(err)
	}
	eachRegistry(t, func(t *testing.T, r running) {
		if err := testimage.Push(t.Context(), r.host+"/x/y/z:v1", index); err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			kind := "blobs"
			if item.Manifest {
				kind = "manifests"
			}
			_, body := get(t, http.MethodGet, fmt.Sprintf("http://%s/v2/x/y/z/%s/%s", r.host, kind, item.Digest), "")
			if got, _, _ := v1.SHA256(bytes.NewReader(body)); got != item.Digest {
				t.Errorf("%s %s came back as %s", kind, item.Digest, got)
			}
		}
		if got := r.log().Manifests(http.MethodGet); got < 2 {
			t.Errorf("%d GETs of manifests in the log, want at least 2", got)
		}
	})
}

func TestWrongDigestsAreNotStored(t *testing.T) {
	eachRegistry(t, func(t *testing.T, r running) {
		_, digest, _ := blob(t, 10)
		begun, err := http.Post("http://"+r.host+"/v2/a/b/blobs/uploads/", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		begun.Body.Close()
		location, err := begun.Location()
		if err != nil {
			t.Fatal(err)
		}
		query := location.Query()
		query.Set("digest", digest)
		location.RawQuery = query.Encode()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, location.String(), strings.NewReader("other"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("status %d, want 400", resp.StatusCode)
		}
		if resp, _ := get(t, http.MethodGet, fmt.Sprintf("http://%s/v2/a/b/blobs/%s", r.host, digest), ""); resp.StatusCode != http.StatusNotFound {
			t.Errorf("then the blob answers %d, want 404", resp.StatusCode)
		}
	})
}
