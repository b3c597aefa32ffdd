package simulation_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/download"
	"github.com/shoal-project/shoal/distribution/simulation"
)

const size = 24*mib + 4321

func succeed(t *testing.T, o outcome) {
	t.Helper()
	for _, err := range o.errs {
		t.Error(err)
	}
}

func TestSupernodeDiesInMidPull(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		bubble(t, simulation.Config{Peers: 4, Mode: mode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
			d := c.Origin.Add(content(1, size))
			o := pullAll(t, c, c.Peers, d, func() {
				time.Sleep(500 * time.Millisecond)
				c.Kill(c.Supernode)
			})
			succeed(t, o)
			t.Logf("slowest %s, origin sent %.2f × the object", o.last, float64(c.Origin.Sent.Load())/size)
			if o.last > 8*time.Second {
				t.Errorf("the slowest took %s", o.last)
			}
		})
	})
}

func TestServingPeerDiesInMidPull(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		bubble(t, simulation.Config{Peers: 4, Mode: mode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
			d := c.Origin.Add(content(2, size))
			o := pullAll(t, c, c.Peers[1:], d, func() {
				go func() { _ = c.Pull(context.Background(), c.Peers[0], d, &bytes.Buffer{}) }()
				time.Sleep(500 * time.Millisecond)
				c.Kill(c.Peers[0])
			})
			succeed(t, o)
			t.Logf("slowest %s, origin sent %.2f × the object", o.last, float64(c.Origin.Sent.Load())/size)
		})
	})
}

func TestOriginGoneOnceTheSupernodeHasIt(t *testing.T) {
	bubble(t, simulation.Config{Peers: 3, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		d := c.Origin.Add(content(3, size))
		if err := c.Pull(t.Context(), c.Supernode, d, &bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
		c.Origin.Down.Store(true)
		succeed(t, pullAll(t, c, c.Peers, d, nil))
	})
}

func TestLiarIsQuarantined(t *testing.T) {
	bubble(t, simulation.Config{Peers: 4, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		d := c.Origin.Add(content(4, size))
		c.Peers[0].Lies.Store(true)
		o := pullAll(t, c, c.Peers, d, nil)
		succeed(t, o)
		if got := c.Origin.Sent.Load(); got != size {
			t.Errorf("the origin sent %d bytes for an object of %d", got, size)
		}
		t.Logf("slowest %s", o.last)
	})
}

func TestSlowPeerDoesNotHoldUpOthers(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		bubble(t, simulation.Config{Peers: 5, Mode: mode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
			d := c.Origin.Add(content(5, size))
			slow := c.Peers[0]
			slow.SetRate(lan / 100)
			ctx, cancel := context.WithCancel(t.Context())
			o := pullAll(t, c, c.Peers[1:], d, func() {
				go func() { _ = c.Pull(ctx, slow, d, &bytes.Buffer{}) }()
			})
			cancel()
			succeed(t, o)
			t.Logf("slowest of the fast %s, origin sent %.2f × the object", o.last, float64(c.Origin.Sent.Load())/size)
			if o.last > 10*time.Second {
				t.Errorf("the fast peers took %s", o.last)
			}
		})
	})
}

func TestLatePeerTakesNothingFromTheOrigin(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		bubble(t, simulation.Config{Peers: 3, Mode: mode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
			d := c.Origin.Add(content(6, size))
			succeed(t, pullAll(t, c, c.Peers[:2], d, nil))
			time.Sleep(time.Minute)
			c.Origin.Down.Store(true)
			succeed(t, pullAll(t, c, c.Peers[2:], d, nil))
			if got := c.Origin.Sent.Load(); got != size {
				t.Errorf("the origin sent %d bytes for an object of %d", got, size)
			}
		})
	})
}

func TestOriginThatLiesIsNotCached(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		for _, length := range []int{1000, size} {
			bubble(t, simulation.Config{Peers: 2, Mode: mode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
				d := chunk.SumBytes([]byte("something else"))
				c.Origin.AddAs(d, content(7, length))
				for _, h := range c.Peers {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					r, err := h.Engine.Open(ctx, distribution.Source{Registry: "o", Repository: "r", Digest: d})
					if err == nil {
						err = r.Wait(ctx)
						r.Close()
					}
					cancel()
					if !errors.Is(err, download.ErrWhole) {
						t.Errorf("%d bytes on %s: got %v, want ErrWhole", length, h.ID, err)
					}
				}
				time.Sleep(2 * time.Minute)
				for _, h := range append(c.Peers, c.Supernode) {
					if _, ok := h.Engine.Holds(d); ok {
						t.Errorf("%s holds the lie", h.ID)
					}
					for _, info := range h.Store.Objects() {
						if info.Digest == d && info.Present > 0 {
							t.Errorf("%s kept %d chunks of the lie", h.ID, info.Present)
						}
					}
				}
			})
		}
	})
}

func TestUnknownObjectIsRefusedWithTheOriginsWord(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		bubble(t, simulation.Config{Peers: 1, Mode: mode}, func(t *testing.T, c *simulation.Cluster) {
			err := c.Pull(t.Context(), c.Peers[0], chunk.SumBytes([]byte("nowhere")), &bytes.Buffer{})
			var refusal *distribution.OriginError
			if !errors.As(err, &refusal) || refusal.Status != 404 {
				t.Errorf("got %v, want the origin's 404", err)
			}
		})
	})
}

func TestSmallObjects(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		bubble(t, simulation.Config{Peers: 3, Mode: mode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
			total := int64(0)
			for i, n := range []int{0, 1, 1000, chunk.BlockSize, chunk.BlockSize + 1, chunk.Size - 1, chunk.Size} {
				d := c.Origin.Add(content(uint64(10+i), n))
				total += int64(n)
				succeed(t, pullAll(t, c, c.Peers, d, nil))
			}
			if got := c.Origin.Sent.Load(); got != total {
				t.Errorf("the origin sent %d bytes for objects of %d", got, total)
			}
		})
	})
}

func TestCorruptStoreIsHealed(t *testing.T) {
	bubble(t, simulation.Config{Peers: 2, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		for i, n := range []int{chunk.Size / 2, size} {
			want := content(uint64(20+i), n)
			d := c.Origin.Add(want)
			succeed(t, pullAll(t, c, c.Peers, d, nil))
			h := c.Peers[0]
			obj, err := h.Store.Open(d)
			if err != nil {
				t.Fatal(err)
			}
			sums := obj.Sums(0)
			if err := obj.Drop(0); err != nil {
				t.Fatal(err)
			}
			rotten := bytes.Clone(want[:min(len(want), chunk.Size)])
			rotten[1000] ^= 1
			if _, err := obj.WriteAt(rotten, 0); err != nil {
				t.Fatal(err)
			}
			if err := obj.Put(0, sums); err != nil {
				t.Fatal(err)
			}
			obj.Close()
			var got bytes.Buffer
			if err := c.Pull(t.Context(), h, d, &got); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Error("wrong bytes were delivered")
			}
			x, _ := h.Engine.Explain(d)
			if len(x.Notes) == 0 {
				t.Error("nothing tells of the corruption")
			}
		}
	})
}

func TestManyReadersShareOneDownload(t *testing.T) {
	bubble(t, simulation.Config{Peers: 1, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		d := c.Origin.Add(content(30, size))
		same := make([]*simulation.Host, 10)
		for i := range same {
			same[i] = c.Peers[0]
		}
		succeed(t, pullAll(t, c, same, d, nil))
		if got := c.Origin.Sent.Load(); got != size {
			t.Errorf("the origin sent %d bytes for an object of %d", got, size)
		}
		if got := c.Supernode.Sent.Load(); got != size {
			t.Errorf("the supernode sent %d bytes for an object of %d", got, size)
		}
	})
}

func TestSupernodeAwayFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := simulation.New(simulation.Config{Peers: 2, Mode: distribution.ModeSupernode, Rate: lan})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.Kill(c.Supernode)
		time.Sleep(time.Second)
		d := c.Origin.Add(content(31, size))
		succeed(t, pullAll(t, c, c.Peers, d, nil))
	})
}

func TestPullGoesOnWhereItStopped(t *testing.T) {
	bubble(t, simulation.Config{Peers: 1, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		d := c.Origin.Add(content(32, size))
		ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
		if err := c.Pull(ctx, c.Peers[0], d, &bytes.Buffer{}); err == nil {
			t.Fatal("the pull ended before it was cut off")
		}
		cancel()
		time.Sleep(2 * time.Minute)
		succeed(t, pullAll(t, c, c.Peers, d, nil))
		if got := c.Origin.Sent.Load(); got != size {
			t.Errorf("the origin sent %d bytes for an object of %d", got, size)
		}
	})
}

// counter counts what was written.
type counter struct{ n atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

func TestLatePeerIsServedWhileTheOriginStalls(t *testing.T) {
	bubble(t, simulation.Config{Peers: 2, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		d := c.Origin.Add(content(33, size))
		c.Origin.Limit.Store(size / 2)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var early, late counter
		go func() { _ = c.Pull(ctx, c.Peers[0], d, &early) }()
		time.Sleep(1500 * time.Millisecond)
		go func() { _ = c.Pull(ctx, c.Peers[1], d, &late) }()
		time.Sleep(1500 * time.Millisecond)
		t.Logf("the early peer delivered %d bytes, the late one %d", early.n.Load(), late.n.Load())
		if late.n.Load() < early.n.Load()/2 {
			t.Errorf("the late peer delivered %d bytes of %d that its neighbour has", late.n.Load(), early.n.Load())
		}
	})
}
