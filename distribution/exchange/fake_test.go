package exchange

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// object is a fake distribution.Upload: bytes that are released block by block.
type object struct {
	data  []byte
	file  string     // empty: none
	known chunk.Sums // of the only chunk, so that benchmarks do not digest

	mu       sync.Mutex
	released int64         // bytes from the start that are here
	err      error         // what Await says beyond them; nil waits
	changed  chan struct{} // closed and renewed
	opened   int
	closed   int
}

func newObject(size int) *object {
	data := make([]byte, size)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return &object{data: data, released: int64(size), changed: make(chan struct{})}
}

func (o *object) onDisk(t testing.TB) *object {
	t.Helper()
	o.file = filepath.Join(t.TempDir(), "object")
	if err := os.WriteFile(o.file, o.data, 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

// release makes the first n bytes available, and err what is said of the rest.
func (o *object) release(n int64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.released, o.err = n, err
	close(o.changed)
	o.changed = make(chan struct{})
}

func (o *object) digest() chunk.Digest { return chunk.SumBytes(o.data) }
func (o *object) Size() int64          { return int64(len(o.data)) }

func (o *object) Sums(i int) chunk.Sums {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.released < o.Size() {
		return nil
	}
	if o.known != nil {
		return o.known
	}
	start := int64(i) * chunk.Size
	return chunk.SumBlocks(o.data[start : start+chunk.Length(o.Size(), i)])
}

func (o *object) Await(ctx context.Context, off, n int64) (int64, error) {
	for {
		o.mu.Lock()
		released, err, changed := o.released, o.err, o.changed
		o.mu.Unlock()
		if released > off {
			return min(n, released-off), nil
		}
		if err != nil {
			return 0, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (o *object) ReadAt(p []byte, off int64) (int, error) { return copy(p, o.data[off:]), nil }

func (o *object) File() (*os.File, error) {
	if o.file == "" {
		return nil, nil
	}
	return os.Open(o.file)
}

func (o *object) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed++
	return nil
}

// balanced tells whether every Upload was closed.
func (o *object) balanced() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.opened == o.closed
}

type store map[chunk.Digest]*object

func storeOf(objects ...*object) store {
	s := store{}
	for _, o := range objects {
		s[o.digest()] = o
	}
	return s
}

func (s store) Upload(d chunk.Digest) (distribution.Upload, error) {
	o, ok := s[d]
	if !ok {
		return nil, chunk.ErrNotFound
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opened++
	return o, nil
}

// node is one side's secrets.
type node struct {
	id  distribution.NodeID
	key ed25519.PrivateKey
}

func newNode(t testing.TB) node {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := nodeID(key)
	if err != nil {
		t.Fatal(err)
	}
	return node{id, key}
}

var networkKey = []byte("0123456789abcdef0123456789abcdef")

func configOf(security Security) Config {
	cfg := Default()
	cfg.Security = security
	return cfg
}

// serve runs a server until the test ends.
func serve(t testing.TB, cfg Config, s store) (distribution.Member, *Server) {
	t.Helper()
	n := newNode(t)
	srv, err := NewServer(cfg, n.key, networkKey, s, slog.New(slog.DiscardHandler), NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return distribution.Member{ID: n.id, Chunks: l.Addr().String()}, srv
}

func newTestClient(t testing.TB, cfg Config, key []byte) *Client {
	t.Helper()
	c, err := NewClient(cfg, newNode(t).key, key, slog.New(slog.DiscardHandler), NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eachSecurity runs a test in both modes.
func eachSecurity(t *testing.T, f func(*testing.T, Config)) {
	for _, s := range []Security{TLS, Clear} {
		t.Run(string(s), func(t *testing.T) { f(t, configOf(s)) })
	}
}

// value reads a counter.
func value(t testing.TB, c prometheus.Metric) float64 {
	t.Helper()
	var out dto.Metric
	if err := c.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}
