package remote

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/layer"
)

// supernode answers as one that derives trees, and as the engine that brings them.
type supernode struct {
	distribution.Objects
	key    ed25519.PrivateKey
	asked  []asked
	secret string // without this Authorization the layers are refused
	brings []distribution.Source
}

type asked struct {
	authorization string
	layers        []distribution.Layer
	lower         bool
}

func (s *supernode) Connected() (id distribution.NodeID, ok bool) { return id, true }

func (s *supernode) Derive(_ context.Context, src distribution.Source, view distribution.View, tell func(done, total int64)) ([]byte, error) {
	s.asked = append(s.asked, asked{src.Authorization, view.Layers, view.Lower})
	if src.Authorization != s.secret {
		return nil, &distribution.OriginError{Status: http.StatusUnauthorized, Message: "who are you?"}
	}
	tell(1, 2)
	b := &layer.Binding{Tree: treeOf(view.Layers), Size: 4096}
	if view.Lower {
		b.Form = layer.FormLower
	}
	for _, l := range view.Layers {
		b.DiffIDs = append(b.DiffIDs, l.DiffID)
	}
	if err := b.Sign(s.key); err != nil {
		return nil, err
	}
	return b.MarshalBinary()
}

func (s *supernode) Ensure(_ context.Context, src distribution.Source, _, _ int64, _ distribution.Priority) (*chunk.Bitmap, error) {
	s.brings = append(s.brings, src)
	return chunk.NewBitmap(1), nil
}

// treeOf is a tree's name, another for other layers.
func treeOf(layers []distribution.Layer) chunk.Digest {
	var all []byte
	for _, l := range layers {
		all = append(all, l.DiffID[:]...)
	}
	return chunk.SumBytes(all)
}

// setUp gives an Opener that has no registry to ask.
func setUp(t *testing.T) (*Opener, *supernode) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &supernode{key: key}
	return &Opener{Engine: s, Trust: []ed25519.PublicKey{public}}, s
}

// known is an image of three layers that was opened before.
func known() *nodeapi.Image {
	i := &nodeapi.Image{
		Reference: "app:1", Registry: "registry.example:5000", Repository: "org/app", Platform: "linux/amd64",
		Manifest: chunk.SumBytes([]byte("m")), Env: []string{"A=b"}, Tree: chunk.SumBytes([]byte("old")), TreeSize: 1,
	}
	for _, name := range []string{"one", "two", "three"} {
		i.Layers = append(i.Layers, nodeapi.Layer{Digest: chunk.SumBytes([]byte(name)), Size: 100})
		i.DiffIDs = append(i.DiffIDs, chunk.SumBytes([]byte("plain "+name)))
	}
	return i
}

func open(t *testing.T, o *Opener, r nodeapi.OpenRequest) *nodeapi.Image {
	t.Helper()
	image, err := o.Open(t.Context(), r, func(nodeapi.Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestKnownImageNeedsNoRegistry(t *testing.T) {
	o, s := setUp(t)
	image := open(t, o, nodeapi.OpenRequest{Known: known()})
	want := known()
	want.Tree, want.TreeSize = treeOf(s.asked[0].layers), 4096
	if diff := cmp.Diff(want, image); diff != "" {
		t.Errorf("the image is not what was known (-want +got):\n%s", diff)
	}
	if len(s.asked[0].layers) != 3 || s.asked[0].authorization != "" {
		t.Errorf("the supernode was asked %+v", s.asked[0])
	}
	source := distribution.Source{Registry: "registry.example:5000", Repository: "org/app", Digest: want.Tree, Size: 4096, Derived: true}
	if diff := cmp.Diff([]distribution.Source{source}, s.brings); diff != "" {
		t.Errorf("brought (-want +got):\n%s", diff)
	}
}

func TestFirstLayersOfAnImage(t *testing.T) {
	o, s := setUp(t)
	for depth, want := range map[int]struct{ asked, says int }{0: {3, 0}, 1: {1, 1}, 2: {2, 2}, 3: {3, 0}} {
		s.asked = nil
		image := open(t, o, nodeapi.OpenRequest{Known: known(), Depth: depth})
		if got := s.asked[0].layers; len(got) != want.asked || got[0].DiffID != known().DiffIDs[0] || image.Tree != treeOf(got) {
			t.Errorf("depth %d: asked for %d layers, got tree %s", depth, len(got), image.Tree)
		}
		if image.Depth != want.says || len(image.Layers) != 3 || len(image.DiffIDs) != 3 {
			t.Errorf("depth %d: the image says depth %d of %d layers, %d diffIDs", depth, image.Depth, len(image.Layers), len(image.DiffIDs))
		}
	}
	// A view opened again is opened from the whole list, not from what it showed.
	two := open(t, o, nodeapi.OpenRequest{Known: known(), Depth: 2})
	if all := open(t, o, nodeapi.OpenRequest{Known: two}); all.Depth != 0 || all.Tree == two.Tree {
		t.Error("an image known by a view of it is opened as that view")
	}
}

func TestOneLayerAlone(t *testing.T) {
	o, s := setUp(t)
	second := known().Layers[1].Digest
	image := open(t, o, nodeapi.OpenRequest{Known: known(), Layer: &second})
	if got := s.asked[0]; !got.lower || len(got.layers) != 2 || got.layers[1].Blob != second {
		t.Errorf("asked %+v", got)
	}
	if image.Layer == nil || *image.Layer != second || image.Depth != 0 || len(image.DiffIDs) != 3 {
		t.Errorf("the image says %+v", image)
	}
	if all := open(t, o, nodeapi.OpenRequest{Known: image}); all.Layer != nil || s.asked[1].lower {
		t.Error("an image known by a layer of it is opened as that layer")
	}
}

func TestNodeCredentialsOnlyWhereNeeded(t *testing.T) {
	o, s := setUp(t)
	s.secret = distribution.NodeCredentials
	open(t, o, nodeapi.OpenRequest{Known: known()})
	if len(s.asked) != 2 || s.asked[0].authorization != "" || s.asked[1].authorization != distribution.NodeCredentials {
		t.Errorf("asked %+v", s.asked)
	}
	// Who shows credentials means these.
	s.asked = nil
	_, err := o.Open(t.Context(), nodeapi.OpenRequest{Known: known(), Authorization: "Basic x"}, func(nodeapi.Progress) {})
	var refused *distribution.OriginError
	if !errors.As(err, &refused) || len(s.asked) != 1 || s.asked[0].authorization != "Basic x" {
		t.Errorf("asked %+v: %v", s.asked, err)
	}
}

func TestStrangeKnownImagesAreRefused(t *testing.T) {
	o, s := setUp(t)
	for name, change := range map[string]func(*nodeapi.OpenRequest){
		"no registry":      func(r *nodeapi.OpenRequest) { r.Known.Registry = "" },
		"no repository":    func(r *nodeapi.OpenRequest) { r.Known.Repository = "" },
		"a scheme":         func(r *nodeapi.OpenRequest) { r.Known.Registry = "http://registry.example" },
		"a tag":            func(r *nodeapi.OpenRequest) { r.Known.Repository = "org/app:1" },
		"a long name":      func(r *nodeapi.OpenRequest) { r.Known.Repository = strings.Repeat("a", 300) },
		"a layer less":     func(r *nodeapi.OpenRequest) { r.Known.Layers = r.Known.Layers[1:] },
		"a diffID less":    func(r *nodeapi.OpenRequest) { r.Known.DiffIDs = r.Known.DiffIDs[1:] },
		"a negative size":  func(r *nodeapi.OpenRequest) { r.Known.Layers[0].Size = -1 },
		"a negative depth": func(r *nodeapi.OpenRequest) { r.Depth = -1 },
		"no such layer":    func(r *nodeapi.OpenRequest) { r.Layer = &r.Known.DiffIDs[0] },
		"layer and depth":  func(r *nodeapi.OpenRequest) { r.Layer, r.Depth = &r.Known.Layers[0].Digest, 1 },
		"a great depth":    func(r *nodeapi.OpenRequest) { r.Depth = 4 },
		"many layers": func(r *nodeapi.OpenRequest) {
			r.Known.Layers, r.Known.DiffIDs = make([]nodeapi.Layer, 1025), make([]chunk.Digest, 1025)
		},
	} {
		r := nodeapi.OpenRequest{Known: known()}
		change(&r)
		if _, err := o.Open(t.Context(), r, func(nodeapi.Progress) {}); err == nil || len(s.asked) > 0 {
			t.Errorf("%s: %v, having asked %d times", name, err, len(s.asked))
		}
		s.asked = nil
	}
}

func TestStatementForOtherLayersIsRefused(t *testing.T) {
	o, s := setUp(t)
	other := known()
	other.DiffIDs[1] = chunk.SumBytes([]byte("else"))
	data, err := s.Derive(t.Context(), distribution.Source{}, distribution.View{Layers: []distribution.Layer{{DiffID: other.DiffIDs[1]}}}, func(int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	image := known()
	o.Alone = true
	o.Local = func(context.Context, distribution.Source, distribution.View, func(done, total int64)) ([]byte, error) {
		return data, nil
	}
	if _, err := o.Open(t.Context(), nodeapi.OpenRequest{Known: image}, func(nodeapi.Progress) {}); !errors.Is(err, layer.ErrBinding) {
		t.Errorf("opened: %v", err)
	}
	// The layers are right, the form is not.
	image.Layers, image.DiffIDs = image.Layers[1:2], other.DiffIDs[1:2]
	if _, err := o.Open(t.Context(), nodeapi.OpenRequest{Known: image}, func(nodeapi.Progress) {}); err != nil {
		t.Error(err)
	}
	r := nodeapi.OpenRequest{Known: image, Layer: &image.Layers[0].Digest}
	if _, err := o.Open(t.Context(), r, func(nodeapi.Progress) {}); !errors.Is(err, layer.ErrBinding) {
		t.Errorf("a root was opened as a lower directory: %v", err)
	}
}

func TestTableOfContentsOfALayer(t *testing.T) {
	toc := chunk.SumBytes([]byte("toc"))
	for _, c := range []struct {
		annotations map[string]string
		want        bool
	}{
		{nil, false},
		{map[string]string{"containerd.io/snapshot/stargz/toc.digest": toc.String()}, true},
		{map[string]string{"io.github.containers.zstd-chunked.manifest-checksum": toc.String()}, true},
		{map[string]string{"containerd.io/snapshot/stargz/toc.digest": "sha512:00"}, false},
	} {
		got := tocOf(v1.Descriptor{Annotations: c.annotations})
		if (got != nil) != c.want || got != nil && *got != toc {
			t.Errorf("%v: %v", c.annotations, got)
		}
	}
}
