package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/internal/pull"
)

// found is an image of which everything is known but a tree.
type found struct {
	image  *nodeapi.Image
	source distribution.Source
	layers []distribution.Layer
}

// find asks the registry what an image is, unless that is known.
func (o *Opener) find(ctx context.Context, r nodeapi.OpenRequest) (*found, error) {
	if r.Known != nil {
		f, err := recall(r.Known, r.Authorization)
		if err != nil {
			err = fmt.Errorf("what was told of %.200q cannot be of an image that was opened: %w; open it by its name", r.Known.Reference, err)
		}
		return f, err
	}
	said, err := o.Images.Image(ctx, pullRequest(r.Image, r.Platform, r.Authorization))
	if err != nil {
		return nil, err
	}
	layers, err := layersOf(said)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be served lazily: %w; pull it the ordinary way", r.Image, err)
	}
	f := &found{image: describe(r.Image, said), source: said.Source, layers: layers}
	for _, l := range layers {
		f.image.DiffIDs = append(f.image.DiffIDs, l.DiffID)
	}
	return f, nil
}

// recall takes an image at the word of who opened it before. A tree that is
// sealed needs no credentials, so the node's own are used only where nobody's
// were refused.
func recall(known *nodeapi.Image, authorization string) (*found, error) {
	ref, err := pull.ParseReference(known.Registry + "/" + known.Repository)
	if err != nil || ref.Registry != known.Registry || ref.Repository != known.Repository {
		return nil, fmt.Errorf("%.200q is no repository of a registry", known.Registry+"/"+known.Repository)
	}
	if len(known.Layers) != len(known.DiffIDs) {
		return nil, fmt.Errorf("it has %d diffIDs for %d layers", len(known.DiffIDs), len(known.Layers))
	}
	f := &found{source: distribution.Source{Registry: known.Registry, Repository: known.Repository, Authorization: authorization}}
	for i, l := range known.Layers {
		f.layers = append(f.layers, distribution.Layer{Blob: l.Digest, Size: l.Size, DiffID: known.DiffIDs[i]})
	}
	image := *known
	f.image = &image
	// The bounds are those of the question to the supernode.
	question := distribution.Derive{Registry: known.Registry, Repository: known.Repository, Authorization: authorization, Layers: f.layers}
	return f, question.Validate()
}

// shown gives the view that a request is about, and has the image say which.
func (f *found) shown(r nodeapi.OpenRequest) (distribution.View, error) {
	f.image.Layer = r.Layer
	if r.Layer != nil {
		return f.layer(*r.Layer, r.Depth)
	}
	if r.Depth < 0 || r.Depth > len(f.layers) {
		return distribution.View{}, fmt.Errorf("it has %d layers, not %d; ask for at most as many", len(f.layers), r.Depth)
	}
	f.image.Depth = r.Depth
	if r.Depth == 0 || r.Depth == len(f.layers) {
		f.image.Depth = 0
		return distribution.View{Layers: f.layers}, nil
	}
	return distribution.View{Layers: f.layers[:r.Depth]}, nil
}

// layer gives the view of one layer alone. An image that has it twice shows it
// over the layers below the first.
func (f *found) layer(blob chunk.Digest, depth int) (distribution.View, error) {
	at := slices.IndexFunc(f.layers, func(l distribution.Layer) bool { return l.Blob == blob })
	if at < 0 || depth != 0 {
		return distribution.View{}, fmt.Errorf("there is no layer %s in the first %d (0 is all) of it", blob, depth)
	}
	f.image.Depth = 0
	return distribution.View{Layers: f.layers[:at+1], Lower: true}, nil
}

// wantsCredentials tells a refusal that credentials may lift. Registries also say
// 404 of what a caller may not see.
func wantsCredentials(err error) bool {
	var refused *distribution.OriginError
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return true
	}
	return false
}

// layersOf pairs the manifest's layers with the config's diffIDs. Without a
// diffID a layer's plain bytes cannot be proved.
func layersOf(found *pull.Image) ([]distribution.Layer, error) {
	ids := found.Config.RootFS.DiffIDs
	if len(ids) != len(found.Layers) {
		return nil, fmt.Errorf("its config has %d diffIDs for %d layers", len(ids), len(found.Layers))
	}
	layers := make([]distribution.Layer, len(ids))
	for i, descriptor := range found.Layers {
		blob, err := chunk.ParseDigest(descriptor.Digest.String())
		if err != nil {
			return nil, err
		}
		diffID, err := chunk.ParseDigest(ids[i].String())
		if err != nil {
			return nil, err
		}
		layers[i] = distribution.Layer{Blob: blob, Size: descriptor.Size, DiffID: diffID}
	}
	return layers, nil
}

// describe tells of an image all that is known before its tree.
func describe(reference string, found *pull.Image) *nodeapi.Image {
	c := found.Config
	platform := v1.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
	image := &nodeapi.Image{
		Reference: reference, Registry: found.Source.Registry, Repository: found.Source.Repository,
		Manifest: found.Manifest, Config: found.ConfigID, Platform: platform.String(),
		Env: c.Config.Env, Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd,
		WorkingDir: c.Config.WorkingDir, User: c.Config.User,
	}
	for _, l := range found.Layers {
		if d, err := chunk.ParseDigest(l.Digest.String()); err == nil {
			image.Layers = append(image.Layers, nodeapi.Layer{Digest: d, Size: l.Size, MediaType: string(l.MediaType)})
		}
	}
	return image
}
