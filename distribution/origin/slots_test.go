package origin

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
)

func TestConnectionsAreCapped(t *testing.T) {
	data := content(8 * chunk.Size)
	var now, most atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(5 * time.Millisecond)
		ranged(data)(w, r)
	})
	cfg := testConfig(s)
	cfg.MaxConnections = 3
	c := newClient(t, cfg)
	var wg sync.WaitGroup
	for range 3 {
		b := open(t, c, sourceOf(s, data))
		for i := range chunk.Count(b.Size()) {
			wg.Go(func() {
				if _, err := readRange(b, int64(i)*chunk.Size, chunk.Size); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	// A handler may still be returning while its connection's successor starts.
	if n := most.Load(); n > 3+3 {
		t.Errorf("%d requests at once, want about 3", n)
	}
}

// TestHeldFirstBodiesGiveWay: blobs that were opened and not read leave no
// request waiting.
func TestHeldFirstBodiesGiveWay(t *testing.T) {
	data := content(2 * chunk.Size)
	s := serve(t, ranged(data))
	cfg := testConfig(s)
	cfg.MaxConnections = 1
	c := newClient(t, cfg)
	for range 3 {
		open(t, c, sourceOf(s, data))
	}
	b := open(t, c, sourceOf(s, data))
	for _, off := range []int64{chunk.Size, 0} {
		got, err := readRange(b, off, chunk.Size)
		if err != nil || chunk.SumBytes(got) != chunk.SumBytes(data[off:off+chunk.Size]) {
			t.Fatalf("read at %d: %v", off, err)
		}
	}
}

// TestSlotsComeBack: after everything is closed, every slot is free, whatever
// happened on the way.
func TestSlotsComeBack(t *testing.T) {
	data := content(2 * chunk.Size)
	var n atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 5 {
		case 0:
			w.WriteHeader(500)
		case 1:
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write(make([]byte, 10))
			abort(w)
		case 2:
			http.Redirect(w, r, "/elsewhere", 302)
		default:
			ranged(data)(w, r)
		}
	})
	c := newClient(t, testConfig(s))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			b, err := c.Open(ctx, sourceOf(s, data))
			if err != nil {
				return
			}
			_, _ = readRange(b, 100, chunk.Size)
			b.Close()
		})
	}
	wg.Wait()
	reg, err := c.registry(hostOf(s))
	if err != nil {
		t.Fatal(err)
	}
	if free := len(reg.slots.free); free != c.cfg.MaxConnections {
		t.Errorf("%d of %d slots are free", free, c.cfg.MaxConnections)
	}
}
