package simulation_test

import (
	"context"
	"crypto/sha256"
	"hash"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/simulation"
)

const mib = 1 << 20

// lan is 200 Mbit/s in bytes a second.
const lan = 25e6

func content(seed uint64, size int) []byte {
	p := make([]byte, size)
	var key [32]byte
	key[0] = byte(seed)
	_, _ = rand.NewChaCha8(key).Read(p)
	return p
}

// outcome is one simultaneous pull.
type outcome struct {
	first, last time.Duration // of the slowest client
	errs        []error
}

type timed struct {
	hash.Hash
	first time.Time
}

func (t *timed) Write(p []byte) (int, error) {
	if t.first.IsZero() {
		t.first = time.Now()
	}
	return t.Hash.Write(p)
}

// pullAll pulls the object on all hosts at once and checks every byte.
func pullAll(t *testing.T, c *simulation.Cluster, hosts []*simulation.Host, d chunk.Digest, during func()) outcome {
	t.Helper()
	var (
		o     outcome
		mu    sync.Mutex
		wg    sync.WaitGroup
		start = time.Now()
	)
	for _, h := range hosts {
		wg.Go(func() {
			w := &timed{Hash: sha256.New()}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			err := c.Pull(ctx, h, d, w)
			mu.Lock()
			defer mu.Unlock()
			o.last = max(o.last, time.Since(start))
			o.first = max(o.first, w.first.Sub(start))
			if err != nil {
				t.Logf("%s after %s: %v", h.ID, time.Since(start), err)
				o.errs = append(o.errs, err)
			} else if chunk.Digest(w.Sum(nil)) != d {
				t.Errorf("%s delivered wrong bytes", h.ID)
			}
		})
	}
	if during != nil {
		during()
	}
	wg.Wait()
	return o
}

func modes(t *testing.T, f func(t *testing.T, mode distribution.OriginMode)) {
	for _, mode := range []distribution.OriginMode{distribution.ModeSupernode, distribution.ModeSpread} {
		t.Run(string(mode), func(t *testing.T) { f(t, mode) })
	}
}

func bubble(t *testing.T, cfg simulation.Config, f func(t *testing.T, c *simulation.Cluster)) {
	synctest.Test(t, func(t *testing.T) {
		c, err := simulation.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(time.Second) // everybody has joined
		f(t, c)
	})
}

func TestColdCrowdFetchesOnce(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		for _, n := range []int{1, 4, 8} {
			bubble(t, simulation.Config{Peers: n, Mode: mode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
				const size = 32*mib + 12345
				d := c.Origin.Add(content(uint64(n), size))
				o := pullAll(t, c, c.Peers, d, nil)
				if len(o.errs) > 0 {
					t.Fatal(o.errs)
				}
				if got := c.Origin.Sent.Load(); got != size {
					t.Errorf("%d peers: the origin sent %d bytes for an object of %d", n, got, size)
				}
				bound := time.Duration(float64(size) / lan * float64(time.Second))
				t.Logf("%d peers: slowest %s = %.2f × the bound, first byte %s", n, o.last, float64(o.last)/float64(bound), o.first)
				// Ties are broken at random; direct pulls would take n times the bound.
				if o.last > 3*bound {
					t.Errorf("%d peers took %s, more than 3 × %s", n, o.last, bound)
				}
			})
		}
	})
}

func TestColdCrowdOfFourLayers(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		bubble(t, simulation.Config{Peers: 8, Mode: mode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
			const layers, size = 4, 16 * mib
			var (
				wg      sync.WaitGroup
				mu      sync.Mutex
				slowest time.Duration
			)
			for i := range layers {
				d := c.Origin.Add(content(uint64(40+i), size))
				wg.Go(func() {
					o := pullAll(t, c, c.Peers, d, nil)
					mu.Lock()
					defer mu.Unlock()
					slowest = max(slowest, o.last)
					for _, err := range o.errs {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if got := c.Origin.Sent.Load(); got != layers*size {
				t.Errorf("the origin sent %d bytes for objects of %d", got, layers*size)
			}
			bound := time.Duration(float64(layers*size) / lan * float64(time.Second))
			t.Logf("slowest %s = %.2f × the bound; %d requests to the origin, %d messages in %d bursts", slowest, float64(slowest)/float64(bound),
				c.Origin.Requests.Load(), c.Counts.Messages.Load(), c.Counts.Bursts.Load())
			if float64(slowest) > 1.25*float64(bound) {
				t.Errorf("the slowest took %s, more than 1.25 × %s", slowest, bound)
			}
		})
	})
}
