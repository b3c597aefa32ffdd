//go:build linux

package transfer

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/fuse/snapshotter"
	"github.com/shoal-project/shoal/internal/containerd"
	"github.com/shoal-project/shoal/internal/containerd/containerdtest"
	"github.com/shoal-project/shoal/internal/lazyfs/lazytest"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/layer"
)

// peer is one that knows an image of three layers.
type peer struct {
	*lazytest.Peer
	found  nodeapi.Found
	opened error

	mu    sync.Mutex
	asked []nodeapi.BlobRequest
}

const (
	named = "registry.example/app:1"
	whole = "registry.example/app"
)

func newPeer(t *testing.T) *peer {
	p := &peer{Peer: lazytest.New(t), found: nodeapi.Found{Registry: "registry.example", Repository: "app"}}
	for i := range 3 {
		plain := bytes.Repeat([]byte{byte(i)}, 1000)
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		if _, err := z.Write(plain); err != nil || z.Close() != nil {
			t.Fatal(err)
		}
		p.found.DiffIDs = append(p.found.DiffIDs, chunk.SumBytes(plain))
		p.found.Layers = append(p.found.Layers, p.add(packed.Bytes(), types.OCILayer))
	}
	config := p.add([]byte(`{"rootfs":{}}`), types.OCIConfigJSON)
	manifest := p.add(document(t, v1.Manifest{SchemaVersion: 2, Config: hub(config), Layers: hubs(p.found.Layers)}), types.OCIManifestSchema1)
	other := nodeapi.Layer{Digest: chunk.SumBytes([]byte("another platform's")), Size: 1}
	index := p.add(document(t, v1.IndexManifest{SchemaVersion: 2, Manifests: hubs([]nodeapi.Layer{other, manifest})}), types.OCIImageIndex)
	p.found.Documents = []nodeapi.Layer{index, manifest, config}
	p.SetImage(&nodeapi.Image{Tree: p.Add([]byte("tree")), TreeSize: 4})
	return p
}

func (p *peer) add(data []byte, kind types.MediaType) nodeapi.Layer {
	return nodeapi.Layer{Digest: p.Add(data), Size: int64(len(data)), MediaType: string(kind)}
}

func document(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func hub(l nodeapi.Layer) v1.Descriptor {
	return v1.Descriptor{MediaType: types.MediaType(l.MediaType), Size: l.Size, Digest: v1.Hash{Algorithm: "sha256", Hex: l.Digest.Hex()}}
}

func hubs(layers []nodeapi.Layer) (all []v1.Descriptor) {
	for _, l := range layers {
		all = append(all, hub(l))
	}
	return all
}

func (p *peer) Find(context.Context, nodeapi.FindRequest) (*nodeapi.Found, error) {
	return &p.found, nil
}

func (p *peer) Open(ctx context.Context, r nodeapi.OpenRequest, tell func(nodeapi.Progress)) (*nodeapi.Image, error) {
	if p.opened != nil {
		return nil, p.opened
	}
	return p.Peer.Open(ctx, r, tell)
}

func (p *peer) Blob(ctx context.Context, r nodeapi.BlobRequest, tell func(done, total int64), use func() error) error {
	p.mu.Lock()
	p.asked = append(p.asked, r)
	p.mu.Unlock()
	for _, l := range append(p.found.Documents, p.found.Layers...) {
		if l.Digest == r.Digest && strings.HasPrefix(r.Image, whole) {
			if _, err := p.Fetch(ctx, nodeapi.FetchRequest{Object: l.Digest, Size: l.Size, Length: l.Size}); err != nil {
				return err
			}
			tell(l.Size, l.Size)
			return use()
		}
	}
	return fmt.Errorf("%s does not have it", r.Image)
}

// fixture is a containerd beside a peer, and what was told.
type fixture struct {
	*Mover
	peer   *peer
	engine *containerdtest.Engine
	states []string
	last   News
	reason string
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{peer: newPeer(t), engine: containerdtest.Start(t)}
	client, err := containerd.New(f.engine.Socket, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	f.Mover = &Mover{Engine: client, Peer: f.peer}
	return f
}

func (f *fixture) tell(n News) {
	f.last = n
	if n.Layer != nil {
		f.states = append(f.states, n.Layer.State)
		f.reason = n.Layer.Reason
	}
}

func (f *fixture) pull(t *testing.T, snapshotter string) error {
	t.Helper()
	f.states, f.reason, f.last = nil, "", News{}
	return f.Pull(t.Context(), PullRequest{Image: named, Snapshotter: snapshotter}, f.tell)
}

// check compares the states of the layers, the snapshots and the record with what
// a pull leaves.
func (f *fixture) check(t *testing.T, states ...string) {
	t.Helper()
	if diff := cmp.Diff(states, f.states); diff != "" {
		t.Errorf("layers (-want +got)\n%s", diff)
	}
	if !f.last.Complete || f.engine.Image(named) != f.peer.found.Documents[0].Digest.String() {
		t.Errorf("the last word is %+v, and the record stands for %q", f.last, f.engine.Image(named))
	}
	committed, active := f.engine.Snapshots()
	var want []string
	for _, id := range layer.ChainIDs(f.peer.found.DiffIDs) {
		want = append(want, id.String())
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, committed); diff != "" || len(active) > 0 {
		t.Errorf("%v are left; snapshots (-want +got)\n%s", active, diff)
	}
	if made, released, _ := f.engine.Leases(); made != released {
		t.Errorf("%d leases were made, %d released", made, released)
	}
}

func always(map[string]string) bool { return true }

func TestPullLazily(t *testing.T) {
	f := newFixture(t)
	f.engine.Lazy(always)
	if err := f.pull(t, "shoal"); err != nil {
		t.Fatal(err)
	}
	f.check(t, Lazy, Lazy, Lazy)
	for _, l := range f.peer.found.Layers {
		if f.engine.Has(l.Digest) {
			t.Errorf("the blob of %s was brought", l.Digest)
		}
	}
	asked := f.engine.Asked()[1]
	manifest, chain := f.peer.found.Documents[1].Digest.String(), layer.ChainIDs(f.peer.found.DiffIDs)
	want := map[string]string{
		"containerd.io/snapshot.ref": chain[1].String(), "containerd.io/snapshot/cri.image-ref": named,
		"containerd.io/snapshot/cri.manifest-digest": manifest, "containerd.io/snapshot/cri.layer-digest": f.peer.found.Layers[1].Digest.String(),
		"containerd.io/snapshot/cri.image-layers": f.peer.found.Layers[1].Digest.String() + "," + f.peer.found.Layers[2].Digest.String(),
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("labels of the second layer (-want +got)\n%s", diff)
	}
	if err := f.pull(t, "shoal"); err != nil {
		t.Fatal(err)
	}
	f.check(t, Present, Present, Present)
}

func TestPullKeepsWhatItBrings(t *testing.T) {
	f := newFixture(t)
	f.engine.Add([]byte(`{"rootfs":{}}`), map[string]string{"containerd.io/distribution.source.registry.example": "base"})
	if err := f.pull(t, "overlayfs"); err != nil {
		t.Fatal(err)
	}
	f.check(t, Unpacked, Unpacked, Unpacked)
	source := "containerd.io/distribution.source.registry.example"
	docs, layers, chain := f.peer.found.Documents, f.peer.found.Layers, layer.ChainIDs(f.peer.found.DiffIDs)
	for digest, want := range map[chunk.Digest]map[string]string{
		docs[0].Digest: {source: "app", "containerd.io/gc.ref.content.m.1": docs[1].Digest.String()},
		docs[1].Digest: {
			source: "app", "containerd.io/gc.ref.content.config": docs[2].Digest.String(), "containerd.io/gc.ref.content.l.0": layers[0].Digest.String(),
			"containerd.io/gc.ref.content.l.1": layers[1].Digest.String(), "containerd.io/gc.ref.content.l.2": layers[2].Digest.String(),
		},
		docs[2].Digest:   {source: "app,base", "containerd.io/gc.ref.snapshot.overlayfs": chain[2].String()},
		layers[2].Digest: {source: "app"},
	} {
		if diff := cmp.Diff(want, f.engine.Labels(digest)); diff != "" {
			t.Errorf("labels of %s (-want +got)\n%s", digest, diff)
		}
	}
}

func TestPullSaysWhyALayerIsNotLazy(t *testing.T) {
	f := newFixture(t)
	lowest := layer.ChainIDs(f.peer.found.DiffIDs)[0].String()
	f.engine.Lazy(func(labels map[string]string) bool { return labels[snapshotter.LabelTarget] == lowest })
	f.Why = func(context.Context, chunk.Digest) string { return "no room" }
	if err := f.pull(t, "shoal"); err != nil {
		t.Fatal(err)
	}
	f.check(t, Lazy, Unpacked, Unpacked)
	if f.reason != "no room" {
		t.Errorf("the reason is %q", f.reason)
	}
	f = newFixture(t)
	f.peer.opened = errors.New("it is no image of files")
	if err := f.pull(t, "shoal"); err != nil {
		t.Fatal(err)
	}
	f.check(t, Unpacked, Unpacked, Unpacked)
	if f.reason != "it is no image of files" {
		t.Errorf("the reason is %q", f.reason)
	}
}

func TestPullThatFailsLeavesNothing(t *testing.T) {
	for name, spoil := range map[string]func(*fixture){
		"another diffID": func(f *fixture) { f.peer.found.DiffIDs[1] = chunk.SumBytes(nil) },
		"a missing blob": func(f *fixture) { f.peer.found.Layers[2].Digest = chunk.SumBytes(nil) },
		"a wrong size":   func(f *fixture) { f.peer.found.Layers[0].Size++ },
		"no peer":        func(f *fixture) { f.peer.Fail(nodeapi.ErrAway) },
	} {
		f := newFixture(t)
		spoil(f)
		if err := f.pull(t, "overlayfs"); err == nil {
			t.Errorf("%s: no error", name)
		}
		_, active := f.engine.Snapshots()
		made, released, _ := f.engine.Leases()
		if f.engine.Image(named) != "" || len(active) > 0 || made != released || f.last.Complete {
			t.Errorf("%s: image %q, snapshots %v, %d leases of %d released", name, f.engine.Image(named), active, released, made)
		}
	}
}

func TestListIsCut(t *testing.T) {
	layers := make([]nodeapi.Layer, 100)
	text := list(layers, maxLabel-len(snapshotLayers))
	if n := strings.Count(text, "sha256:"); n != 56 || len(text)+len(snapshotLayers) > maxLabel || len(text) != 56*72-1 {
		t.Errorf("%d layers in %d bytes", n, len(text))
	}
}

func (f *fixture) materialize(t *testing.T, r MaterializeRequest) error {
	t.Helper()
	f.states, f.last = nil, News{}
	return f.Materialize(t.Context(), r, f.tell)
}

func TestMaterialize(t *testing.T) {
	f := newFixture(t)
	f.engine.Lazy(always)
	if err := f.materialize(t, MaterializeRequest{Image: named}); !errors.Is(err, containerd.ErrNotFound) {
		t.Fatalf("of an image that is not there: %v", err)
	}
	if err := f.pull(t, "shoal"); err != nil {
		t.Fatal(err)
	}
	authorization := func(image string) (string, error) { return "for " + image, nil }
	if err := f.materialize(t, MaterializeRequest{Image: named, Authorization: authorization}); err != nil {
		t.Fatal(err)
	}
	f.check(t, Fetched, Fetched, Fetched)
	for _, l := range f.peer.found.Layers {
		if !f.engine.Has(l.Digest) {
			t.Errorf("the blob of %s is not there", l.Digest)
		}
	}
	if last := f.peer.asked[len(f.peer.asked)-1]; last.Image != whole || last.Authorization != "for "+whole {
		t.Errorf("the peer was asked %+v", last)
	}
	if err := f.materialize(t, MaterializeRequest{Image: named}); err != nil {
		t.Fatal(err)
	}
	f.check(t)
}

// An image that was made here, of layers from elsewhere, has a name that says
// nothing.
func TestMaterializeFromElsewhere(t *testing.T) {
	f := newFixture(t)
	manifest := f.engine.Add(document(t, v1.Manifest{SchemaVersion: 2, Config: hub(f.peer.found.Documents[2]), Layers: hubs(f.peer.found.Layers)}), nil)
	if err := f.Engine.SetImage(t.Context(), "docker.io/library/made:here", containerd.Descriptor{Digest: manifest}); err != nil {
		t.Fatal(err)
	}
	if err := f.materialize(t, MaterializeRequest{Image: "made:here"}); err == nil || !strings.Contains(err.Error(), "with --from") {
		t.Errorf("without a hint: %v", err)
	}
	if err := f.materialize(t, MaterializeRequest{Image: "made:here", From: named}); err != nil || len(f.states) != 4 {
		t.Errorf("with one: %v, %v", f.states, err)
	}
	if kept := f.engine.Labels(manifest)["containerd.io/gc.ref.content.l.2"]; kept != f.peer.found.Layers[2].Digest.String() {
		t.Errorf("the manifest keeps %q as its last layer", kept)
	}
}
