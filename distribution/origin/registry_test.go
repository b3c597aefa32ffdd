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
	"time"

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

// TestKnownSize: opening costs no request, and every answer must fit.
func TestKnownSize(t *testing.T) {
	data := content(2*chunk.Size + 3)
	var seen ranges
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen.add(r)
		ranged(data)(w, r)
	})
	c := newClient(t, testConfig(s))
	src := sourceOf(s, data)
	src.Size = int64(len(data))
	b := open(t, c, src)
	if n := len(seen.all()); n != 0 || !b.Ranged() || b.Size() != src.Size {
		t.Errorf("%d requests, ranged %t, size %d", n, b.Ranged(), b.Size())
	}
	got, err := readRange(b, chunk.Size, 100)
	if err != nil || !bytes.Equal(got, data[chunk.Size:chunk.Size+100]) {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	wantWhole(t, b, data)

	src.Size--
	b = open(t, c, src)
	var refused *distribution.OriginError
	if _, err := readRange(b, 0, 100); !errors.As(err, &refused) {
		t.Errorf("another size than known: got %v, want an OriginError", err)
	}
	src.Size = chunk.MaxObject + 1
	if _, err := c.Open(context.Background(), src); !errors.As(err, &refused) {
		t.Errorf("too large: got %v, want an OriginError", err)
	}
}

// TestKnownSizeWithoutRanges: a whole answer serves all the same.
func TestKnownSizeWithoutRanges(t *testing.T) {
	data := content(chunk.Size)
	s := serve(t, whole(data))
	src := sourceOf(s, data)
	src.Size = int64(len(data))
	b := open(t, newClient(t, testConfig(s)), src)
	for _, span := range [][2]int64{{1000, 50}, {0, chunk.Size}} {
		got, err := readRange(b, span[0], span[1])
		if err != nil || !bytes.Equal(got, data[span[0]:span[0]+span[1]]) {
			t.Errorf("read %v: %d bytes, %v", span, len(got), err)
		}
	}
	if b.Ranged() {
		t.Error("still ranged")
	}
}

// TestBeyondFourGiB: nothing on the way counts in 32 bits.
func TestBeyondFourGiB(t *testing.T) {
	const size = 6<<30 + 5
	block := content(chunk.Size)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, &repeated{block: block, size: size})
	})
	b := open(t, newClient(t, testConfig(s)), sourceOf(s, block))
	if b.Size() != size {
		t.Fatalf("size %d, want %d", b.Size(), int64(size))
	}
	got, err := readRange(b, size-9, 9)
	want := append(block[len(block)-4:len(block):len(block)], block[:5]...)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("the last bytes: %x, %v; want %x", got, err, want)
	}
}
