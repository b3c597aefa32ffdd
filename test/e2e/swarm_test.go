//go:build e2e && linux

package e2e

import (
	"fmt"
	"os/exec"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/testregistry"
)

// newLab is a network of an origin, a supernode and n peers.
func newLab(t *testing.T, n int, rate lab.Rate) *lab.Lab {
	t.Helper()
	if err := lab.Available(); err != nil {
		t.Skipf("SKIP: %v", err)
	}
	config := lab.Default()
	config.Hosts = append([]string{"origin", "supernode"}, lab.Peers(n)...)
	config.Rate = rate
	l, err := lab.New(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// registryIn runs a docker-registry in a host.
func registryIn(t *testing.T, h *lab.Host) *testregistry.Debian {
	t.Helper()
	return startRegistry(t, testregistry.Options{
		Addr:  h.At(5000).String(),
		Start: func(cmd *exec.Cmd) error { return h.Do(cmd.Start) },
		Dial:  h.DialContext,
	})
}

func TestFourColdPeersFetchEachBlobFromTheOriginOnce(t *testing.T) {
	for _, mode := range []distribution.OriginMode{distribution.ModeSupernode, distribution.ModeSpread} {
		t.Run(string(mode), func(t *testing.T) { fourColdPeers(t, mode) })
	}
}

func fourColdPeers(t *testing.T, mode distribution.OriginMode) {
	l := newLab(t, 4, 0)
	registry := registryIn(t, l.Host("origin"))
	reach := registries{hosts: []string{registry.Host()}}
	img := must(testimage.Random(uint64(len(mode)), 4, 48<<20))(t)
	if err := testimage.Push(t.Context(), registry.Host()+"/cold/image:v1", img, through(l.Host("origin").DialContext)); err != nil {
		t.Fatal(err)
	}
	super := startSupernode(t, inHost(l.Host("supernode")), mode, reach)
	var group errgroup.Group
	mark := must(registry.Mark(t.Context()))(t)
	var pullers []*puller
	for _, name := range lab.Peers(4) {
		pullers = append(pullers, startPeer(t, inHost(l.Host(name)), super, reach).puller(t, registry.Host()))
	}
	for i, p := range pullers {
		group.Go(func() error {
			if err := p.pullWhole(t.Context(), "cold/image", "v1", img); err != nil {
				return fmt.Errorf("peer %d: %w", i+1, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	log := must(registry.Log(t.Context(), mark))(t)
	sent := log.BlobBytes()
	for _, item := range items(t, img) {
		if got := sent[item.Digest.String()]; !item.Manifest && got != item.Size {
			t.Errorf("%s mode: the origin sent %d bytes of %s, want exactly its %d", mode, got, item.Digest, item.Size)
		}
	}
	if want := must(testimage.BlobBytes(img))(t); log.TotalBlobBytes() != want {
		t.Errorf("%s mode: the origin sent %d bytes of blobs, want %d: %.4f ×", mode,
			log.TotalBlobBytes(), want, float64(log.TotalBlobBytes())/float64(want))
	}
}
