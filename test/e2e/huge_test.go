//go:build e2e && linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/download"
	"github.com/shoal-project/shoal/internal/testimage"
	"github.com/shoal-project/shoal/internal/testregistry"
)

// maxResident is what a daemon may occupy at its peak.
const maxResident = 96 << 20

func TestLayerBeyondFourGiBInLittleMemory(t *testing.T) {
	const size = 4<<30 + 64<<20
	layer, img, super, p := startHuge(t, 1, size)
	client := p.puller(t, p.origin)
	want := excerpts(t, layer, size)
	checkRanges(t, client, layer, want)
	if err := client.pullWhole(t.Context(), "huge/image", "v1", img); err != nil {
		t.Fatal(err)
	}
	checkRanges(t, client, layer, want)
	for _, n := range []*node{super.node, p.node} {
		peak := n.peakMemory(t)
		t.Logf("%s: peak of %d MiB resident", n.kind, peak>>20)
		if peak > maxResident {
			t.Errorf("%s: a peak of %d MiB resident, want at most %d", n.kind, peak>>20, maxResident>>20)
		}
	}
}

// hugePeer is a peer, and the registry from which it gets a huge image.
type hugePeer struct {
	*peer
	origin string
}

// startHuge starts a supernode and a peer of it, beside a registry that has an
// image with one layer of so many bytes.
func startHuge(t *testing.T, seed uint64, size int64) (v1.Layer, v1.Image, *supernode, hugePeer) {
	t.Helper()
	registry := startRegistry(t, testregistry.Options{})
	layer := must(testimage.Huge(seed, size))(t)
	if err := registry.Place("huge/image", layer); err != nil {
		t.Fatal(err)
	}
	img := must(testimage.Assemble(testimage.OCI, testimage.Config{}, layer))(t)
	if err := testimage.Push(t.Context(), registry.Host()+"/huge/image:v1", img); err != nil {
		t.Fatal(err)
	}
	reach := registries{hosts: []string{registry.Host()}}
	super := startSupernode(t, loopback(), distribution.ModeSupernode, reach)
	return layer, img, super, hugePeer{startPeer(t, loopback(), super, reach), registry.Host()}
}

// A machine may stop for seconds: a virtual one that is moved, one that swaps. What
// did not come meanwhile is nobody's fault, and what comes all at once afterwards
// must not cost more memory.
func TestPeerThatStoodStillGoesOn(t *testing.T) {
	const size, between = 2 << 30, 64 << 20
	_, img, _, p := startHuge(t, 2, size)
	o := open(t, p.puller(t, p.origin), "huge/image", layerOf(t, img), between)
	for range 2 {
		p.standStill(t, 2*download.Default().Stall)
		o.more(t, between)
	}
	if err := o.finish(); err != nil {
		t.Fatal(err)
	}
	if peak := p.peakMemory(t); peak > maxResident {
		t.Errorf("a peak of %d MiB resident, want at most %d", peak>>20, maxResident>>20)
	}
	if stalled := p.metric(t, "shoal_download_fetches_total", "stalled"); stalled > 0 {
		t.Errorf("%v fetches were given up as stalled", stalled)
	}
}

// excerpt is a part of a layer.
type excerpt struct {
	from int64
	text []byte
}

// excerpts are from around the places where arithmetic in 32 bits goes wrong.
func excerpts(t *testing.T, layer v1.Layer, size int64) []excerpt {
	t.Helper()
	const n = 64 << 10
	r := must(layer.Compressed())(t)
	defer r.Close()
	var at int64
	var found []excerpt
	for _, from := range []int64{0, 4<<20 - n/2, 2<<30 - n/2, 4<<30 - n/2, size - n} {
		e := excerpt{from: from, text: make([]byte, n)}
		if _, err := io.CopyN(io.Discard, r, from-at); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, e.text); err != nil {
			t.Fatal(err)
		}
		at = from + n
		found = append(found, e)
	}
	return found
}

// checkRanges asks for the last excerpts first, so that a cold store must jump.
func checkRanges(t *testing.T, client *puller, layer v1.Layer, want []excerpt) {
	t.Helper()
	for _, e := range slices.Backward(want) {
		ranges := fmt.Sprintf("bytes=%d-%d", e.from, e.from+int64(len(e.text))-1)
		resp, err := client.ok(t.Context(), "huge/image", "blobs", digestOf(t, layer), "Range", ranges)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, e.text) {
			t.Errorf("%s: %d bytes came, and not the right ones", ranges, len(got))
		}
	}
}
