package exchange

import (
	"bytes"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"
)

// What a hostile node sends as a packed run never gives more bytes than were
// asked for, and a run that ends cleanly has exactly as many.
func FuzzUnpack(f *testing.F) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(e.EncodeAll(make([]byte, 300<<10), nil), 300<<10)
	f.Add(e.EncodeAll(make([]byte, 300<<10), nil), 1<<10)
	f.Add(e.EncodeAll([]byte("short"), e.EncodeAll([]byte("two frames, "), nil)), 17)
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd}, 9)
	f.Add([]byte{}, 1)
	f.Fuzz(func(t *testing.T, wire []byte, n int) {
		if n < 0 || n > 1<<20 {
			return
		}
		received := prometheus.NewCounter(prometheus.CounterOpts{Name: "n"})
		r, err := unpack(io.NopCloser(bytes.NewReader(wire)), int64(n), received)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if len(got) > n || err == nil && len(got) != n {
			t.Errorf("%d bytes of %d, %v", len(got), n, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}
