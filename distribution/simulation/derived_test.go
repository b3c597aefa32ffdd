package simulation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/download"
	"github.com/shoal-project/shoal/distribution/simulation"
)

// derive makes an object of the content in a cluster's supernode.
func derive(t *testing.T, c *simulation.Cluster, data []byte) chunk.Digest {
	t.Helper()
	d, err := c.Derive(data)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// holds tells whether the object's bytes on the host are those of data in the range.
func holds(t *testing.T, h *simulation.Host, d chunk.Digest, data []byte, off, n int64) {
	t.Helper()
	obj, err := h.Store.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer obj.Close()
	got := make([]byte, n)
	if _, err := obj.ReadAt(got, off); err != nil {
		t.Fatal(err)
	}
	if string(got) != string(data[off:off+n]) {
		t.Errorf("%s has other bytes at %d", h.ID, off)
	}
}

func TestPartOfADerivedObject(t *testing.T) {
	bubble(t, simulation.Config{Peers: 1, Mode: distribution.ModeSpread, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		data := content(11, 40*mib+77)
		d := derive(t, c, data)
		began := time.Now()
		have, err := c.Ensure(t.Context(), c.Peers[0], d, int64(len(data)), 21*mib+5, 10_000, distribution.Demand)
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		first := int(21 * mib / chunk.BlockSize)
		if !have.Has(first) || have.Count() != 1 {
			t.Errorf("%d blocks are here, with %d: %v; want that one alone", have.Count(), first, have.Has(first))
		}
		if took > 100*time.Millisecond {
			t.Errorf("one block took %s", took)
		}
		holds(t, c.Peers[0], d, data, 21*mib+5, 10_000)
		if got := c.Origin.Sent.Load(); got != 0 {
			t.Errorf("an origin was asked for %d bytes of what it cannot have", got)
		}
	})
}

// What is asked for may begin and end within a run, between blocks that are
// missing, and several may ask at once.
func TestScatteredPartsOfADerivedObject(t *testing.T) {
	bubble(t, simulation.Config{Peers: 1, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		data := content(19, 40*mib+77)
		d := derive(t, c, data)
		parts := []struct{ first, n int64 }{{41, 4}, {3, 1}, {44, 6}, {90, 1}, {13, 2}, {160, 1}}
		var group errgroup.Group
		for i, p := range parts {
			off, n := p.first*chunk.BlockSize, p.n*chunk.BlockSize
			n = min(n, int64(len(data))-off)
			group.Go(func() error {
				_, err := c.Ensure(t.Context(), c.Peers[0], d, int64(len(data)), off, n, distribution.Priority(i%3))
				if err == nil {
					holds(t, c.Peers[0], d, data, off, n)
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		have, err := c.Ensure(t.Context(), c.Peers[0], d, int64(len(data)), 0, 0, distribution.Demand)
		if err != nil || have.Count() != 14 {
			t.Errorf("%d blocks are here, of 14 that were asked for; %v", have.Count(), err)
		}
	})
}

func TestTailOfADerivedObjectOfOneBlock(t *testing.T) {
	bubble(t, simulation.Config{Peers: 1, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		data := content(12, 4321)
		d := derive(t, c, data)
		have, err := c.Ensure(t.Context(), c.Peers[0], d, 4321, 4000, 321, distribution.Fill)
		if err != nil || !have.Full() {
			t.Fatalf("have %v, %v", have, err)
		}
		holds(t, c.Peers[0], d, data, 0, 4321)
	})
}

func TestCrowdTakesADerivedObjectFromEachOther(t *testing.T) {
	bubble(t, simulation.Config{Peers: 6, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		data := content(13, 24*mib)
		d := derive(t, c, data)
		var group errgroup.Group
		for _, p := range c.Peers {
			group.Go(func() error {
				_, err := c.Ensure(t.Context(), p, d, int64(len(data)), 0, int64(len(data)), distribution.Fill)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		for _, p := range c.Peers {
			holds(t, p, d, data, 0, int64(len(data)))
		}
		sent := float64(c.Supernode.Sent.Load()) / float64(len(data))
		t.Logf("the supernode sent %.2f × the object to %d peers", sent, len(c.Peers))
		if sent > 4 {
			t.Errorf("the supernode sent %.2f × the object", sent)
		}
	})
}

func TestDerivedObjectThatNobodyHas(t *testing.T) {
	bubble(t, simulation.Config{Peers: 1, Mode: distribution.ModeSpread, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		d := c.Origin.Add(content(14, 3*mib)) // even if an origin had such a blob
		_, err := c.Ensure(t.Context(), c.Peers[0], d, 3*mib, 0, 1, distribution.Demand)
		if !errors.Is(err, download.ErrAbsent) {
			t.Errorf("error %v, want ErrAbsent", err)
		}
		if got := c.Origin.Sent.Load(); got != 0 {
			t.Errorf("the origin was asked for %d bytes", got)
		}
	})
}

func TestDerivedObjectFromANeighbourWhenTheSupernodeLostIt(t *testing.T) {
	bubble(t, simulation.Config{Peers: 2, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		data := content(15, 9*mib)
		d := derive(t, c, data)
		size := int64(len(data))
		if _, err := c.Ensure(t.Context(), c.Peers[0], d, size, 0, size, distribution.Demand); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute) // the swarm ends, the first peer keeps it
		if err := c.Supernode.Store.Remove(d); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Ensure(t.Context(), c.Peers[1], d, size, 5*mib, mib, distribution.Demand); err != nil {
			t.Fatal(err)
		}
		holds(t, c.Peers[1], d, data, 5*mib, mib)
	})
}

func TestZerosOfADerivedObjectAreNotSent(t *testing.T) {
	bubble(t, simulation.Config{Peers: 1, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		data := make([]byte, 64*mib)
		copy(data[20*mib:], content(16, mib))
		d := derive(t, c, data)
		have, err := c.Ensure(t.Context(), c.Peers[0], d, int64(len(data)), 0, int64(len(data)), distribution.Demand)
		if err != nil || !have.Full() {
			t.Fatalf("error %v", err)
		}
		holds(t, c.Peers[0], d, data, 18*mib, 6*mib)
		if sent := c.Supernode.Sent.Load(); sent > 4*mib {
			t.Errorf("the supernode sent %d bytes, of which only one chunk is not zeros", sent)
		}
	})
}

func TestDemandGoesBeforeTheBackground(t *testing.T) {
	bubble(t, simulation.Config{Peers: 1, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		fill, want := content(17, 60*mib), content(18, 20*mib)
		filling, wanted := derive(t, c, fill), derive(t, c, want)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = c.Ensure(ctx, c.Peers[0], filling, int64(len(fill)), 0, int64(len(fill)), distribution.Fill)
		}()
		time.Sleep(300 * time.Millisecond)
		var slowest time.Duration
		for i := range 20 {
			began := time.Now()
			if _, err := c.Ensure(t.Context(), c.Peers[0], wanted, int64(len(want)), int64(i)*mib, 1, distribution.Demand); err != nil {
				t.Fatal(err)
			}
			slowest = max(slowest, time.Since(began))
		}
		t.Logf("the slowest of 20 reads of one block took %s beside the fill", slowest)
		if slowest > 700*time.Millisecond {
			t.Errorf("a read waited %s behind the background", slowest)
		}
		cancel()
		<-ended
	})
}

// A chunk that proves corrupt at the supernode, and that nobody else has, is
// reported as absent: the image can then be opened, and the object made, again.
func TestDerivedObjectOfWhichAChunkIsLost(t *testing.T) {
	bubble(t, simulation.Config{Peers: 1, Mode: distribution.ModeSupernode, Rate: lan}, func(t *testing.T, c *simulation.Cluster) {
		data := content(20, 12*mib)
		d := derive(t, c, data)
		size := int64(len(data))
		if _, err := c.Ensure(t.Context(), c.Peers[0], d, size, 0, 1, distribution.Demand); err != nil {
			t.Fatal(err)
		}
		obj, err := c.Supernode.Store.Open(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := obj.Drop(1); err != nil {
			t.Fatal(err)
		}
		wrong := content(21, chunk.Size)
		if _, err := obj.WriteAt(wrong, chunk.Size); err != nil {
			t.Fatal(err)
		}
		_ = obj.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = c.Ensure(ctx, c.Peers[0], d, size, 5*mib, mib, distribution.Demand)
		if !errors.Is(err, download.ErrAbsent) {
			t.Errorf("error %v, want ErrAbsent", err)
		}
	})
}
