package simulation_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/simulation"
)

// once asserts that the origin sent every byte of the objects once.
func once(t *testing.T, c *simulation.Cluster, o outcome, want int64) {
	t.Helper()
	succeed(t, o)
	got := c.Origin.Sent.Load()
	t.Logf("slowest %s, origin sent %.3f × the object", o.last, float64(got)/float64(want))
	if got != want {
		t.Errorf("the origin sent %d bytes for an object of %d", got, want)
	}
}

func TestSlowIsNotDead(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		for _, factor := range []float64{10, 30} {
			bubble(t, simulation.Config{Peers: 8, Mode: mode, Rate: lan / factor}, func(t *testing.T, c *simulation.Cluster) {
				d := c.Origin.Add(content(50, size))
				once(t, c, pullAll(t, c, c.Peers, d, nil), size)
			})
		}
	})
}

func TestMemberSlowsDownForAWhile(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		bubble(t, simulation.Config{Peers: 8, Mode: mode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
			d := c.Origin.Add(content(51, size))
			once(t, c, pullAll(t, c, c.Peers, d, func() { slowly(c.Peers[3:4], 10, 10*time.Second) }), size)
		})
	})
}

// slowly divides the rate of hosts for a while, soon after the beginning.
func slowly(hosts []*simulation.Host, factor float64, during time.Duration) {
	time.Sleep(200 * time.Millisecond)
	for _, h := range hosts {
		h.SetRate(lan / factor)
	}
	time.Sleep(during)
	for _, h := range hosts {
		h.SetRate(lan)
	}
}

func TestEverybodySlowsDownForAWhile(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		bubble(t, simulation.Config{Peers: 8, Mode: mode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
			d := c.Origin.Add(content(52, size))
			all := append([]*simulation.Host{c.Supernode}, c.Peers...)
			once(t, c, pullAll(t, c, c.Peers, d, func() { slowly(all, 20, 20*time.Second) }), size)
		})
	})
}

// A member that crawls is not waited for, though that costs a few bytes twice.
func TestCrawlingMemberIsNotWaitedFor(t *testing.T) {
	modes(t, func(t *testing.T, mode distribution.OriginMode) {
		bubble(t, simulation.Config{Peers: 8, Mode: mode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
			d := c.Origin.Add(content(53, size))
			ctx, cancel := context.WithCancel(t.Context())
			go func() { _ = c.Pull(ctx, c.Peers[7], d, &bytes.Buffer{}) }()
			o := pullAll(t, c, c.Peers[:7], d, func() { slowly(c.Peers[7:], 100, time.Minute) })
			cancel()
			succeed(t, o)
			t.Logf("slowest of the fast %s, origin sent %.3f × the object", o.last, float64(c.Origin.Sent.Load())/size)
			if o.last > 15*time.Second {
				t.Errorf("the others took %s", o.last)
			}
			if got := c.Origin.Sent.Load(); got > size*5/4 {
				t.Errorf("the origin sent %d bytes for an object of %d", got, size)
			}
		})
	})
}
