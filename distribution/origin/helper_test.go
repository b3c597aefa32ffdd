package origin

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// testConfig is a Config with which failures end soon. Its registries are the
// given servers.
func testConfig(servers ...*httptest.Server) Config {
	cfg := Default()
	cfg.Timeout = 5 * time.Second
	cfg.Backoff, cfg.BackoffLimit = time.Millisecond, 4*time.Millisecond
	for _, s := range servers {
		cfg.Registries = append(cfg.Registries, Registry{Name: hostOf(s)})
	}
	return cfg
}

func hostOf(s *httptest.Server) string {
	_, host, _ := strings.Cut(s.URL, "://")
	return host
}

func newClient(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg, discardSlog(), NewMetrics(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// content is n bytes that are the same in every run.
func content(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

func sourceOf(s *httptest.Server, data []byte) distribution.Source {
	return distribution.Source{Registry: hostOf(s), Repository: "lib/app", Digest: chunk.SumBytes(data)}
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func open(t *testing.T, c *Client, src distribution.Source) distribution.Blob {
	t.Helper()
	b, err := c.Open(context.Background(), src)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func readRange(b distribution.Blob, off, n int64) ([]byte, error) {
	r, err := b.Read(context.Background(), off, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// wantWhole reads a blob whole and compares it.
func wantWhole(t *testing.T, b distribution.Blob, data []byte) {
	t.Helper()
	if b.Size() != int64(len(data)) {
		t.Fatalf("size %d, want %d", b.Size(), len(data))
	}
	got, err := readRange(b, 0, b.Size())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("read %d bytes that differ from the %d served", len(got), len(data))
	}
}

// ranged serves data as a well-behaved registry does.
func ranged(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

func discardLogger() *log.Logger { return log.New(io.Discard, "", 0) }

func discardSlog() *slog.Logger { return slog.New(slog.DiscardHandler) }
