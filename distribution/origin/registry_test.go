package origin

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// upload pushes a blob to a registry that speaks the distribution API.
func upload(t *testing.T, base, repo string, data []byte, auth string) {
	t.Helper()
	url := base + "/v2/" + repo + "/blobs/uploads/"
	do := func(method, url string, body []byte) *http.Response {
		req, err := http.NewRequest(method, url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		if auth != "" {
			req.Header.Set("Authorization", auth)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	resp := do(http.MethodPost, url, nil)
	loc, err := resp.Request.URL.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != http.StatusAccepted {
		t.Fatalf("starting the upload: %s, %v", resp.Status, err)
	}
	q := loc.Query()
	q.Set("digest", chunk.SumBytes(data).String())
	loc.RawQuery = q.Encode()
	if resp := do(http.MethodPut, loc.String(), data); resp.StatusCode != http.StatusCreated {
		t.Fatalf("upload: %s", resp.Status)
	}
}

func TestOpenReadsAgainstTestRegistry(t *testing.T) {
	for _, size := range []int{0, 1, 1000, chunk.Size - 1, chunk.Size, chunk.Size + 1, 3*chunk.Size + 17} {
		s := httptest.NewServer(ggcr.New(ggcr.Logger(discardLogger())))
		data := content(size)
		upload(t, s.URL, "lib/app", data, "")
		c := newClient(t, testConfig(s))
		n, err := c.Stat(context.Background(), sourceOf(s, data))
		if err != nil || n != int64(size) {
			t.Errorf("Stat of %d bytes: %d, %v", size, n, err)
		}
		wantWhole(t, open(t, c, sourceOf(s, data)), data)
		s.Close()
	}
}

func TestOpenCostsOneRequest(t *testing.T) {
	data := content(1024)
	var requests atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		ranged(data)(w, r)
	})
	wantWhole(t, open(t, newClient(t, testConfig(s)), sourceOf(s, data)), data)
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests for a small blob, want 1", n)
	}
}

func TestParallelRanges(t *testing.T) {
	data := content(4*chunk.Size + 99)
	var bytesAsked atomic.Int64
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("Range"), "-") || r.Header.Get("Range") == "" {
			t.Errorf("range %q is not closed", r.Header.Get("Range"))
		}
		cw := &countWriter{ResponseWriter: w}
		ranged(data)(cw, r)
		bytesAsked.Add(cw.n)
	})
	b := open(t, newClient(t, testConfig(s)), sourceOf(s, data))
	if !b.Ranged() {
		t.Fatal("not ranged")
	}
	got := make([]byte, len(data))
	var wg sync.WaitGroup
	for i := range chunk.Count(b.Size()) {
		wg.Go(func() {
			p, err := readRange(b, int64(i)*chunk.Size, chunk.Length(b.Size(), i))
			if err != nil {
				t.Error(err)
			}
			copy(got[i*chunk.Size:], p)
		})
	}
	wg.Wait()
	if !bytes.Equal(got, data) {
		t.Error("the parts differ from the whole")
	}
	if bytesAsked.Load() != int64(len(data)) {
		t.Errorf("%d bytes served for a blob of %d", bytesAsked.Load(), len(data))
	}
}

type countWriter struct {
	http.ResponseWriter
	n int64
}

func (w *countWriter) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	w.n += int64(n)
	return n, err
}

func TestUnknownBlob(t *testing.T) {
	s := httptest.NewServer(ggcr.New(ggcr.Logger(discardLogger())))
	defer s.Close()
	_, err := newClient(t, testConfig(s)).Open(context.Background(), sourceOf(s, []byte("nowhere")))
	var refused *distribution.OriginError
	if !errors.As(err, &refused) || refused.Status != 404 || refused.Code != "BLOB_UNKNOWN" {
		t.Errorf("got %v, want a 404 BLOB_UNKNOWN", err)
	}
}
