// Package remote opens images for the lazy file system of a node: it finds out
// which layers an image has, has its tree derived (by the supernode, or in this
// process where none answers), verifies the signed statement which tree that is,
// and brings the tree into the node's store. It also makes parts of the tree's
// objects present on demand.
//
// It keeps nothing itself. An Opener is safe for concurrent use.
package remote

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/distribution"
	"github.com/shoal-project/shoal/distribution/download"
	"github.com/shoal-project/shoal/internal/nodeapi"
	"github.com/shoal-project/shoal/internal/pull"
	"github.com/shoal-project/shoal/layer"
)

// Opener opens images.
type Opener struct {
	Images *pull.Puller
	Engine Engine
	// Alone says that no supernode is configured.
	Alone bool
	// Local derives trees in this process, when there is no supernode or none
	// answers.
	Local distribution.Deriver
	// Trust are the keys whose statements count.
	Trust []ed25519.PublicKey
}

// Engine is what an Opener needs of the download engine.
type Engine interface {
	distribution.Objects
	Connected() (distribution.NodeID, bool)
	Derive(ctx context.Context, src distribution.Source, view distribution.View, tell func(done, total int64)) ([]byte, error)
	Ensure(ctx context.Context, src distribution.Source, off, n int64, p distribution.Priority) (*chunk.Bitmap, error)
}

// Open has the image's tree in the store when it returns. It tells how far that
// is.
func (o *Opener) Open(ctx context.Context, r nodeapi.OpenRequest, tell func(nodeapi.Progress)) (*nodeapi.Image, error) {
	tell(nodeapi.Progress{Stage: nodeapi.StageResolve})
	known, err := o.find(ctx, r)
	if err != nil {
		return nil, err
	}
	image := known.image
	view, err := known.shown(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", image.Reference, err)
	}
	binding, err := o.derive(ctx, known.source, view, func(done, total int64) {
		tell(nodeapi.Progress{Stage: nodeapi.StageLayers, Done: done, Total: total})
	})
	if err != nil {
		return nil, fmt.Errorf("%s cannot be served lazily: %w; the ordinary pull does not need this", image.Reference, err)
	}
	image.Tree, image.TreeSize, image.Plain = binding.Tree, binding.Size, binding.Plain
	tell(nodeapi.Progress{Stage: nodeapi.StageTree, Total: binding.Size})
	if err := o.bring(ctx, image); err != nil {
		return nil, fmt.Errorf("the tree of %s: %w", image.Reference, err)
	}
	tell(nodeapi.Progress{Stage: nodeapi.StageTree, Done: binding.Size, Total: binding.Size})
	return image, nil
}

// derive asks the supernode, or does it here; and believes neither before the
// statement was verified.
func (o *Opener) derive(ctx context.Context, src distribution.Source, view distribution.View, tell func(done, total int64)) (*layer.Binding, error) {
	ask := o.Local
	if o.reachable(ctx) {
		ask = o.Engine.Derive
	}
	data, err := ask(ctx, src, view, tell)
	if wantsCredentials(err) && src.Authorization == "" {
		src.Authorization = distribution.NodeCredentials
		data, err = ask(ctx, src, view, tell)
	}
	if err != nil {
		return nil, err
	}
	binding, err := layer.ParseBinding(data)
	if err != nil {
		return nil, err
	}
	if err := binding.Verify(o.Trust); err != nil {
		return nil, err
	}
	same := (binding.Form == layer.FormLower) == view.Lower && slices.EqualFunc(binding.DiffIDs, view.Layers, func(d chunk.Digest, l distribution.Layer) bool { return d == l.DiffID })
	if !same {
		return nil, fmt.Errorf("%w: it is for another view than was asked for", layer.ErrBinding)
	}
	return binding, nil
}

// reachPatience is how long a supernode that was just lost, or not found yet, is
// waited for before this node does the work.
const reachPatience = 2 * time.Second

func (o *Opener) reachable(ctx context.Context) bool {
	if o.Alone {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	for {
		if _, ok := o.Engine.Connected(); ok {
			return true
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
}

// bring has the whole tree in the store.
func (o *Opener) bring(ctx context.Context, image *nodeapi.Image) error {
	_, err := o.Engine.Ensure(ctx, derivedSource(image.Registry, image.Repository, image.Tree, image.TreeSize), 0, image.TreeSize, distribution.Demand)
	return err
}

func derivedSource(registry, repository string, object chunk.Digest, size int64) distribution.Source {
	return distribution.Source{Registry: registry, Repository: repository, Digest: object, Size: size, Derived: true}
}

func priorityOf(r nodeapi.FetchRequest) distribution.Priority {
	switch {
	case r.Background:
		return distribution.Fill
	case r.Ahead:
		return distribution.Ahead
	}
	return distribution.Demand
}

// Fetch makes bytes of an object present.
func (o *Opener) Fetch(ctx context.Context, r nodeapi.FetchRequest) (*chunk.Bitmap, error) {
	have, err := o.Engine.Ensure(ctx, derivedSource(r.Registry, r.Repository, r.Object, r.Size), r.Offset, r.Length, priorityOf(r))
	if errors.Is(err, download.ErrAbsent) {
		err = fmt.Errorf("%w: %w", nodeapi.ErrAbsent, err)
	}
	if err == nil && have.Len() != chunk.BlockCount(r.Size) {
		err = fmt.Errorf("the object has another size than %d", r.Size)
	}
	return have, err
}
