package simulation_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/simulation"
)

// takes makes a part of a derived object present on a host.
func takes(t *testing.T, c *simulation.Cluster, h *simulation.Host, d chunk.Digest, data []byte, off, n int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Ensure(ctx, h, d, int64(len(data)), off, n, distribution.Demand); err != nil {
		t.Errorf("%s: %d bytes at %d of %d: %v", h.ID, n, off, len(data), err)
		return
	}
	holds(t, h, d, data, off, n)
}

// lonely checks that a host waits for an object in vain, for the reason given.
func lonely(t *testing.T, c *simulation.Cluster, h *simulation.Host, d chunk.Digest, size int64, why string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		time.Sleep(30 * time.Second)
		if said := h.Engine.Why(d, 0, 1); !strings.Contains(said, why) {
			t.Errorf("what is waited for is told as %q, want %q", said, why)
		}
	}()
	if _, err := c.Ensure(ctx, h, d, size, 0, 1, distribution.Demand); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the reader's own deadline", err)
	}
}

func outage(t *testing.T, peers int, f func(t *testing.T, c *simulation.Cluster)) {
	bubble(t, simulation.Config{Peers: peers, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		time.Sleep(time.Second) // all have joined
		f(t, c)
		if got := c.Origin.Sent.Load(); got != 0 {
			t.Errorf("an origin was asked for %d bytes of what it cannot have", got)
		}
	})
}

func TestObjectsNeverBegunComeFromNeighboursInAnOutage(t *testing.T) {
	outage(t, 3, func(t *testing.T, c *simulation.Cluster) {
		objects := [][]byte{content(31, 40*mib+77), content(32, 3*mib), content(33, 4321), make([]byte, 9*mib)}
		var names []chunk.Digest
		for _, data := range objects {
			d := derive(t, c, data)
			takes(t, c, c.Peers[0], d, data, 0, int64(len(data)))
			names = append(names, d)
		}
		halves := content(34, 16*mib) // each neighbour has one
		d := derive(t, c, halves)
		takes(t, c, c.Peers[0], d, halves, 0, 8*mib)
		takes(t, c, c.Peers[1], d, halves, 8*mib, 8*mib)
		time.Sleep(2 * time.Minute) // the swarms end
		sent := c.Supernode.Sent.Load()
		c.Kill(c.Supernode)
		began := time.Now()
		takes(t, c, c.Peers[2], names[0], objects[0], 21*mib+5, 10_000)
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("the first block took %s", took)
		}
		for i, data := range objects {
			takes(t, c, c.Peers[2], names[i], data, 0, int64(len(data)))
		}
		takes(t, c, c.Peers[2], d, halves, 0, int64(len(halves)))
		if c.Supernode.Sent.Load() != sent {
			t.Error("a dead supernode sent bytes")
		}
	})
}

// Who waits is served as soon as a neighbour has the object.
func TestNeighbourThatHasItLaterIsFoundInAnOutage(t *testing.T) {
	outage(t, 2, func(t *testing.T, c *simulation.Cluster) {
		data := content(35, 2*mib)
		d := chunk.SumBytes(data)
		c.Kill(c.Supernode)
		go func() {
			time.Sleep(20 * time.Second)
			if _, err := c.DeriveAt(c.Peers[0], data); err != nil {
				t.Error(err)
			}
		}()
		takes(t, c, c.Peers[1], d, data, 0, int64(len(data)))
	})
}

func TestSealsOfOthersAreRefusedInAnOutage(t *testing.T) {
	outage(t, 2, func(t *testing.T, c *simulation.Cluster) {
		data := content(36, 9*mib)
		d, err := c.DeriveAt(c.Peers[0], data)
		if err != nil {
			t.Fatal(err)
		}
		c.Kill(c.Supernode)
		lonely(t, c, c.Peers[1], d, int64(len(data)), "none of the 1 nodes that were asked has it")
		if _, err := c.Peers[1].Store.Open(d); !errors.Is(err, chunk.ErrNotFound) {
			t.Errorf("what was never proved is in the store: %v", err)
		}
	})
}

func TestLiarsAreQuarantinedInAnOutage(t *testing.T) {
	outage(t, 3, func(t *testing.T, c *simulation.Cluster) {
		for i, size := range []int{2 * mib, 9 * mib} {
			data := content(uint64(37+i), size)
			d := derive(t, c, data)
			takes(t, c, c.Peers[0], d, data, 0, int64(size))
			takes(t, c, c.Peers[1], d, data, 0, int64(size))
		}
		time.Sleep(2 * time.Minute)
		c.Peers[0].Lies.Store(true)
		c.Kill(c.Supernode)
		for i, size := range []int{2 * mib, 9 * mib} {
			data := content(uint64(37+i), size)
			takes(t, c, c.Peers[2], chunk.SumBytes(data), data, 0, int64(size))
		}
	})
}

func TestObjectThatNobodyHasIsWaitedForInAnOutage(t *testing.T) {
	outage(t, 3, func(t *testing.T, c *simulation.Cluster) {
		c.Kill(c.Supernode)
		for _, size := range []int64{mib, 9 * mib} {
			lonely(t, c, c.Peers[2], chunk.SumBytes(content(uint64(size>>20), 99)), size, "none of the 2 nodes that were asked has it")
		}
	})
}

// Reads of what nobody has do not keep the background fill of something else from
// what a neighbour has, nor make it slow.
func TestWaitInVainStopsNoFill(t *testing.T) {
	outage(t, 2, func(t *testing.T, c *simulation.Cluster) {
		data := content(40, 60*mib)
		d := derive(t, c, data)
		size := int64(len(data))
		takes(t, c, c.Peers[0], d, data, 0, size)
		var halves [][]byte
		for i := range 3 {
			half := content(uint64(41+i), 16*mib)
			halves = append(halves, half)
			derive(t, c, half)
			takes(t, c, c.Peers[1], chunk.SumBytes(half), half, 0, 8*mib)
		}
		time.Sleep(2 * time.Minute)
		c.Kill(c.Supernode)
		ctx, cancel := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		for _, half := range halves {
			readers.Go(func() {
				for ctx.Err() == nil {
					try, giveUp := context.WithTimeout(ctx, 30*time.Second)
					_, _ = c.Ensure(try, c.Peers[1], chunk.SumBytes(half), 16*mib, 12*mib, 1, distribution.Demand)
					giveUp()
				}
			})
		}
		time.Sleep(time.Minute)
		filling, stop := context.WithTimeout(ctx, time.Minute)
		if _, err := c.Ensure(filling, c.Peers[1], d, size, 0, size, distribution.Fill); err != nil {
			t.Errorf("the fill: %v", err)
		}
		stop()
		cancel()
		readers.Wait()
	})
}
