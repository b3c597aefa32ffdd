package origin

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shoal-project/shoal/distribution"
)

func TestRateLimit(t *testing.T) {
	data := content(1 << 20)
	s := serve(t, ranged(data))
	cfg := testConfig(s)
	cfg.Registries[0].RateLimit = 2 << 20
	c := newClient(t, cfg)
	start := time.Now()
	for range 3 {
		wantWhole(t, open(t, c, sourceOf(s, data)), data)
	}
	// The first 2 MiB are the burst.
	if d := time.Since(start); d < 450*time.Millisecond {
		t.Errorf("3 MiB at 2 MiB/s took %s", d)
	}
}

func TestRequestLimit(t *testing.T) {
	s := serve(t, ranged(content(1)))
	cfg := testConfig(s)
	cfg.Registries[0].RequestLimit = 10
	c := newClient(t, cfg)
	start := time.Now()
	for range 13 {
		if _, err := c.Stat(context.Background(), sourceOf(s, content(1))); err != nil {
			t.Fatal(err)
		}
	}
	if d := time.Since(start); d < 250*time.Millisecond {
		t.Errorf("13 requests at 10/s took %s", d)
	}
}

// TestDownRegistryFailsFast: after patience has ended once, callers with another
// way out do not wait for it again; an answer restores it.
func TestDownRegistryFailsFast(t *testing.T) {
	var tries atomic.Int32
	var up atomic.Bool
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1); !up.Load() {
			panic(http.ErrAbortHandler)
		}
		// Otherwise net/http itself tries a kept connection once more.
		w.Header().Set("Connection", "close")
		ranged(content(1))(w, r)
	})
	c := newClient(t, testConfig(s))
	stat := func() (int32, error) {
		tries.Store(0)
		_, err := c.Stat(context.Background(), sourceOf(s, content(1)))
		return tries.Load(), err
	}
	for i, want := range []int32{5, 1, 1} {
		if n, err := stat(); err == nil || n != want {
			t.Errorf("call %d: %d tries, %v; want %d", i, n, err, want)
		}
	}
	up.Store(true)
	if n, err := stat(); err != nil || n != 1 {
		t.Errorf("registry up: %d tries, %v", n, err)
	}
	up.Store(false)
	if n, err := stat(); err == nil || n != 5 {
		t.Errorf("down again: %d tries, %v; want 5", n, err)
	}
}

func TestNothingListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	cfg := testConfig()
	cfg.Registries = []Registry{{Name: l.Addr().String()}}
	src := sourceOf(serve(t, ranged(nil)), nil)
	src.Registry = l.Addr().String()
	if _, err := newClient(t, cfg).Open(context.Background(), src); err == nil {
		t.Error("opened at a closed port")
	}
}

func TestStatWithoutHead(t *testing.T) {
	data := content(100)
	for _, status := range []int{400, 403, 405, 501} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.WriteHeader(status)
				return
			}
			ranged(data)(w, r)
		})
		if n, err := newClient(t, testConfig(s)).Stat(context.Background(), sourceOf(s, data)); n != 100 || err != nil {
			t.Errorf("%d: %d, %v", status, n, err)
		}
	}
}

// TestForwardDoesNotSitOutALongPause: whoever waits for an answer is told, and
// the registry is left alone meanwhile; its mirror is not.
func TestForwardDoesNotSitOutALongPause(t *testing.T) {
	var asked, atMirror atomic.Int32
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Retry-After", "40")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		atMirror.Add(1)
		w.WriteHeader(http.StatusNotFound)
	})
	c := newClient(t, mirrored(s, m.URL))
	r := distribution.Request{Method: http.MethodHead, Registry: hostOf(s), Repository: "a", Path: "manifests/latest"}
	resp, err := c.Forward(context.Background(), r)
	if err != nil || resp.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("got %v, %v, want the 429", resp, err)
	}
	resp.Body.Close()
	_, err = c.Forward(context.Background(), r)
	var refused *distribution.OriginError
	if !errors.As(err, &refused) || refused.Status != http.StatusTooManyRequests {
		t.Errorf("during the pause: got %v, want a 429", err)
	}
	if asked.Load() != 1 || atMirror.Load() != 2 {
		t.Errorf("%d requests to the registry and %d to its mirror, want 1 and 2", asked.Load(), atMirror.Load())
	}
}
