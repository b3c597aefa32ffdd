//go:build e2e && linux

package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"github.com/shoal-project/shoal/bench/lab"
	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/internal/testimage"
)

func TestSupernodeKilledInMidPull(t *testing.T) {
	const size = 64 << 20
	for _, mode := range []distribution.OriginMode{distribution.ModeSupernode, distribution.ModeSpread} {
		t.Run(string(mode), func(t *testing.T) {
			img := must(testimage.Random(3, 1, size))(t)
			g := startGated(t, size/2)
			g.push(t, "fault/image:v1", img)
			super := startSupernode(t, loopback(), mode, g.reach())
			var bodies []*opened
			for range 2 {
				p := startPeer(t, loopback(), super, g.reach()).puller(t, g.host())
				bodies = append(bodies, open(t, p, "fault/image", layerOf(t, img), 1))
			}
			if err := g.AwaitSent(t.Context(), size/2); err != nil {
				t.Fatal(err)
			}
			super.kill()
			g.Open()
			finishAll(t, bodies)
		})
	}
}

func TestLatePeerIsServedWhileTheOriginStalls(t *testing.T) {
	const size = 64 << 20
	img := must(testimage.Random(15, 1, size))(t)
	g := startGated(t, size/2)
	g.push(t, "fault/image:v1", img)
	super := startSupernode(t, loopback(), distribution.ModeSupernode, g.reach())
	early := startPeer(t, loopback(), super, g.reach()).puller(t, g.host())
	late := startPeer(t, loopback(), super, g.reach()).puller(t, g.host())
	bodies := []*opened{open(t, early, "fault/image", layerOf(t, img), 1)}
	if err := g.AwaitSent(t.Context(), size/2); err != nil {
		t.Fatal(err)
	}
	// The origin gives nothing more for now, but the first byte is in the swarm.
	bodies = append(bodies, open(t, late, "fault/image", layerOf(t, img), 1))
	g.Open()
	finishAll(t, bodies)
}

func finishAll(t *testing.T, bodies []*opened) {
	t.Helper()
	var group errgroup.Group
	for _, o := range bodies {
		group.Go(o.finish)
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func TestServingPeerKilledInMidPull(t *testing.T) {
	const size = 48 << 20
	// At this rate the pull takes seconds, so that the kill falls into it.
	l := newLab(t, 2, 100*lab.Mbit)
	registry := registryIn(t, l.Host("origin"))
	reach := registries{hosts: []string{registry.Host()}}
	img := must(testimage.Random(4, 1, size))(t)
	if err := testimage.Push(t.Context(), registry.Host()+"/fault/image:v1", img, through(l.Host("origin").DialContext)); err != nil {
		t.Fatal(err)
	}
	super := startSupernode(t, inHost(l.Host("supernode")), distribution.ModeSupernode, reach)
	hosts := lab.Peers(2)
	giver := startPeer(t, inHost(l.Host(hosts[0])), super, reach)
	if err := giver.puller(t, registry.Host()).pullWhole(t.Context(), "fault/image", "v1", img); err != nil {
		t.Fatal(err)
	}
	taker := startPeer(t, inHost(l.Host(hosts[1])), super, reach)
	o := open(t, taker.puller(t, registry.Host()), "fault/image", layerOf(t, img), 1)
	giver.kill()
	if err := o.finish(); err != nil {
		t.Error(err)
	}
}

func TestPullingPeerKilledKeepsWhatItStored(t *testing.T) {
	const size, received = 64 << 20, 24 << 20
	img := must(testimage.Random(5, 1, size))(t)
	g := startGated(t, size*3/4)
	g.push(t, "fault/image:v1", img)
	p := startPeer(t, loopback(), nil, g.reach())
	open(t, p.puller(t, g.host()), "fault/image", layerOf(t, img), received)
	p.kill()
	g.settle(t)
	g.registry.ResetLog()
	g.Open()
	p.run(t)
	if err := p.puller(t, g.host()).pullWhole(t.Context(), "fault/image", "v1", img); err != nil {
		t.Fatal(err)
	}
	g.settle(t)
	// The client had received so many whole chunks. The last may have been on its
	// way to the store still; the others were there.
	const kept = received - chunk.Size
	fetched := g.registry.Log().BlobBytes()[layerOf(t, img).Digest.String()]
	if fetched > size-kept {
		t.Errorf("after the restart %d bytes were fetched; at least %d of %d were stored, so at most %d were missing",
			fetched, kept, size, size-kept)
	}
}

func TestOriginGoneAfterTheSupernodeHasTheObject(t *testing.T) {
	const size = 48 << 20
	img := must(testimage.Random(6, 2, size))(t)
	g := startGated(t, 0)
	g.push(t, "fault/image:v1", img)
	g.Open()
	super := startSupernode(t, loopback(), distribution.ModeSupernode, g.reach())
	first := startPeer(t, loopback(), super, g.reach())
	if err := first.puller(t, g.host()).pullWhole(t.Context(), "fault/image", "v1", img); err != nil {
		t.Fatal(err)
	}
	second := startPeer(t, loopback(), super, g.reach())
	p := second.puller(t, g.host())
	// The second peer learns the manifest, and that the caller may read, while
	// the origin lives; the layers must come without it.
	resp, err := p.ok(t.Context(), "fault/image", "manifests", "v1")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	first.kill()
	g.server.CloseClientConnections()
	g.server.Close()
	if err := p.pullWhole(t.Context(), "fault/image", digestOf(t, img), img); err != nil {
		t.Error(err)
	}
}

func TestCorruptedChunkIsNeverDelivered(t *testing.T) {
	const size = 32 << 20
	img := must(testimage.Random(7, 1, size))(t)
	layer := layerOf(t, img)
	g := startGated(t, 0)
	g.push(t, "fault/image:v1", img)
	g.Open()
	super := startSupernode(t, loopback(), distribution.ModeSupernode, g.reach())
	bad := startPeer(t, loopback(), super, g.reach())
	pull := func(p *peer) error {
		return p.puller(t, g.host()).pullWhole(t.Context(), "fault/image", "v1", img)
	}
	if err := pull(bad); err != nil {
		t.Fatal(err)
	}
	corrupt(t, bad.dir+"/data", layer, 9<<20)
	t.Run("to its own client", func(t *testing.T) {
		if err := pull(bad); err != nil {
			t.Error(err)
		}
	})
	corrupt(t, bad.dir+"/data", layer, 17<<20)
	t.Run("to another peer", func(t *testing.T) {
		if err := pull(startPeer(t, loopback(), super, g.reach())); err != nil {
			t.Error(err)
		}
	})
	corrupt(t, bad.dir+"/data", layer, 25<<20)
	t.Run("after a restart", func(t *testing.T) {
		bad.stop(t)
		bad.run(t)
		if err := pull(bad); err != nil {
			t.Error(err)
		}
	})
}

// corrupt flips a byte of the one file under dir that holds a blob as it is.
func corrupt(t *testing.T, dir string, d v1.Descriptor, off int64) {
	t.Helper()
	var found string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.Contains(path, d.Digest.Hex) {
			return err
		}
		if info, err := e.Info(); err != nil || info.Size() != d.Size {
			return err
		}
		found = path
		return nil
	})
	if err != nil || found == "" {
		t.Fatalf("no file of %d bytes named after %s under %s: %v", d.Size, d.Digest, dir, err)
	}
	f, err := os.OpenFile(found, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 64)
	if _, err := f.ReadAt(p, off); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(flip(p), off); err != nil {
		t.Fatal(err)
	}
}

func flip(p []byte) []byte {
	for i := range p {
		p[i] ^= 0xff
	}
	return p
}
