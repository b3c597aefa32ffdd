//go:build linux

package lazyfs

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/fuse/layerstore"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// LayerPeer is what is asked of the peer for layers.
type LayerPeer interface {
	Find(ctx context.Context, r nodeapi.FindRequest) (*nodeapi.Found, error)
	Blob(ctx context.Context, r nodeapi.BlobRequest, tell func(done, total int64), use func() error) error
}

// Layers are single layers, held as images are.
type Layers struct {
	Holdings
	peer LayerPeer
}

var _ layerstore.Layers = Layers{}

// Layers gives the daemon's.
func (d *Daemon) Layers(peer LayerPeer) Layers { return Layers{Holdings{d}, peer} }

// Find tells of a layer of an image.
func (l Layers) Find(ctx context.Context, reference string, digest chunk.Digest) (*layerstore.Layer, error) {
	image, err := l.peer.Find(ctx, nodeapi.FindRequest{Image: reference})
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(image.Layers, func(l nodeapi.Layer) bool { return l.Digest == digest || l.TOC != nil && *l.TOC == digest })
	if at < 0 {
		return nil, fmt.Errorf("%s has %w: %s", reference, layerstore.ErrUnknown, digest)
	}
	// The layers above are none of this view's.
	known, err := json.Marshal(nodeapi.Image{
		Reference: reference, Registry: image.Registry, Repository: image.Repository,
		Layers: image.Layers[:at+1], DiffIDs: image.DiffIDs[:at+1],
	})
	if err != nil {
		return nil, err
	}
	found := image.Layers[at]
	return &layerstore.Layer{
		Reference: reference, Digest: found.Digest, Size: found.Size, MediaType: found.MediaType,
		DiffID: image.DiffIDs[at], TOC: found.TOC, Known: known,
	}, nil
}

// Hold keeps the view of a layer for a user.
func (l Layers) Hold(ctx context.Context, user string, layer *layerstore.Layer) (int64, error) {
	var known nodeapi.Image
	if err := json.Unmarshal(layer.Known, &known); err != nil {
		return 0, fmt.Errorf("what is known of %s cannot be read: %w", layer.Reference, err)
	}
	view, err := l.d.peer.Open(ctx, nodeapi.OpenRequest{Known: &known, Layer: &layer.Digest}, func(nodeapi.Progress) {})
	if err != nil {
		return 0, err
	}
	if err := l.d.learnStore(ctx); err != nil {
		return 0, err
	}
	l.d.mu.Lock()
	defer l.d.mu.Unlock()
	return view.Plain, l.d.hold(user, view)
}

// Blob has the registry's bytes brought to this node.
func (l Layers) Blob(ctx context.Context, layer *layerstore.Layer) (layerstore.Blob, error) {
	var blob *diskstore.Peeked
	r := nodeapi.BlobRequest{Image: layer.Reference, Digest: layer.Digest}
	err := l.peer.Blob(ctx, r, func(int64, int64) {}, func() (err error) {
		// What is open stays readable, also if the store lets go of it.
		blob, err = diskstore.Peek(l.d.storeDir(), layer.Digest)
		return err
	})
	if err != nil {
		return nil, err
	}
	return wholeBlob{blob.File(), blob}, nil
}

// wholeBlob is a blob's file in the store.
type wholeBlob struct {
	*os.File
	peeked *diskstore.Peeked
}

// Close closes the view that the file belongs to.
func (b wholeBlob) Close() error { return b.peeked.Close() }
