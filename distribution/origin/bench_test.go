package origin

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// BenchmarkOpenSmall is what a cold blob of 1 KiB costs, beside net/http alone.
func BenchmarkOpenSmall(b *testing.B) {
	data := content(1024)
	s := httptest.NewServer(ranged(data))
	defer s.Close()
	b.Run("direct", func(b *testing.B) {
		for b.Loop() {
			resp, err := http.Get(s.URL)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
	})
	b.Run("origin", func(b *testing.B) {
		c := benchClient(b, s)
		src := sourceOf(s, data)
		buf := make([]byte, 256<<10)
		for b.Loop() {
			copyBlob(b, c, src, buf)
		}
	})
}

// BenchmarkReadLarge is 256 MiB in one range after the first, beside net/http.
func BenchmarkReadLarge(b *testing.B) {
	const size = 256 << 20
	chunk4 := content(chunk.Size)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, &repeated{block: chunk4, size: size})
	}))
	defer s.Close()
	b.Run("direct", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			resp, err := http.Get(s.URL)
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.CopyBuffer(onlyWriter{}, resp.Body, make([]byte, 256<<10))
			resp.Body.Close()
		}
	})
	b.Run("origin", func(b *testing.B) {
		b.SetBytes(size)
		c := benchClient(b, s)
		src := sourceOf(s, chunk4)
		buf := make([]byte, 256<<10)
		for b.Loop() {
			copyBlob(b, c, src, buf)
		}
	})
}

func benchClient(b *testing.B, s *httptest.Server) *Client {
	c, err := New(testConfig(s), discardSlog(), NewMetrics(nil))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

func copyBlob(b *testing.B, c *Client, src distribution.Source, buf []byte) {
	blob, err := c.Open(context.Background(), src)
	if err != nil {
		b.Fatal(err)
	}
	defer blob.Close()
	r, err := blob.Read(context.Background(), 0, blob.Size())
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	n, err := io.CopyBuffer(onlyWriter{}, r, buf)
	if err != nil || n != blob.Size() {
		b.Fatalf("read %d of %d bytes: %v", n, blob.Size(), err)
	}
}

// onlyWriter swallows bytes without io.ReaderFrom.
type onlyWriter struct{}

func (onlyWriter) Write(p []byte) (int, error) { return len(p), nil }

// repeated is size bytes of one block over and over.
type repeated struct {
	block     []byte
	off, size int64
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.off >= r.size {
		return 0, io.EOF
	}
	at := r.off % int64(len(r.block))
	n, _ := bytes.NewReader(r.block[at:]).Read(p[:min(int64(len(p)), r.size-r.off)])
	r.off += int64(n)
	return n, nil
}

func (r *repeated) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += r.off
	case io.SeekEnd:
		off += r.size
	}
	r.off = off
	return off, nil
}
