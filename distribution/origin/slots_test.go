package origin

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
)

// openBodies counts the requests and bodies that a client has open.
type openBodies struct {
	http.RoundTripper
	now, most atomic.Int32
}

func (o *openBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	n := o.now.Add(1)
	for m := o.most.Load(); n > m && !o.most.CompareAndSwap(m, n); m = o.most.Load() {
	}
	resp, err := o.RoundTripper.RoundTrip(r)
	if err != nil {
		o.now.Add(-1)
		return nil, err
	}
	resp.Body = &countedBody{ReadCloser: resp.Body, closed: sync.OnceFunc(func() { o.now.Add(-1) })}
	return resp, nil
}

type countedBody struct {
	io.ReadCloser
	closed func()
}

func (b *countedBody) Close() error {
	b.closed()
	return b.ReadCloser.Close()
}

func TestConnectionsAreCapped(t *testing.T) {
	data := content(8 * chunk.Size)
	s := serve(t, ranged(data))
	cfg := testConfig(s)
	cfg.MaxConnections = 3
	c := newClient(t, cfg)
	counted := &openBodies{RoundTripper: c.configured[hostOf(s)].endpoints[0].transport}
	c.configured[hostOf(s)].endpoints[0].transport = counted
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
	if n := counted.most.Load(); n != 3 {
		t.Errorf("%d requests at once, want 3", n)
	}
}

// TestIdleBodyIsGivenBack: a body that nobody comes for frees its slot.
func TestIdleBodyIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := newRegistry(Default(), "a.example", Registry{}, false, NewMetrics(nil))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.slots.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		p := r.slots.park(&body{answer: newAnswer(t.Context(), r, r.slots), end: 1}, firstIdle, true)
		time.Sleep(firstIdle - 1)
		if free := len(r.slots.free); free != cap(r.slots.free)-1 {
			t.Fatalf("%d of %d slots are free too soon", free, cap(r.slots.free))
		}
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		if free := len(r.slots.free); free != cap(r.slots.free) {
			t.Errorf("%d of %d slots are free", free, cap(r.slots.free))
		}
		if p.take() != nil {
			t.Error("the body can still be taken")
		}
	})
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
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
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
	for _, s := range []*slots{reg.slots, reg.quick} {
		if free := len(s.free); free != cap(s.free) {
			t.Errorf("%d of %d slots are free", free, cap(s.free))
		}
	}
}

// TestBulkLeavesRoomForQuestions: while every bulk slot is taken by bodies that
// do not move, a forwarded request is answered.
func TestBulkLeavesRoomForQuestions(t *testing.T) {
	data := content(8 * chunk.Size)
	s := serve(t, ranged(data))
	cfg := testConfig(s)
	cfg.MaxConnections = 4
	c := newClient(t, cfg)
	b := open(t, c, sourceOf(s, data))
	for i := range 3 {
		r, err := b.Read(context.Background(), int64(i)*chunk.Size, chunk.Size)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := c.Forward(ctx, distribution.Request{Method: http.MethodHead, Registry: hostOf(s), Repository: "a", Path: "manifests/latest"})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
