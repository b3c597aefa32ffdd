//go:build linux

package transfer

import (
	"context"
	"fmt"
	"maps"

	"github.com/shoal-project/shoal/chunk"
	"github.com/shoal-project/shoal/chunk/diskstore"
	"github.com/shoal-project/shoal/internal/containerd"
	"github.com/shoal-project/shoal/internal/nodeapi"
)

// Peer is what is asked of the node's peer; a [nodeapi.Client] is one.
type Peer interface {
	Find(ctx context.Context, r nodeapi.FindRequest) (*nodeapi.Found, error)
	Open(ctx context.Context, r nodeapi.OpenRequest, tell func(nodeapi.Progress)) (*nodeapi.Image, error)
	Blob(ctx context.Context, r nodeapi.BlobRequest, tell func(done, total int64), use func() error) error
	Store(ctx context.Context) (dir string, err error)
}

var _ Peer = (*nodeapi.Client)(nil)

// Mover moves images from a peer into a containerd.
type Mover struct {
	Engine *containerd.Client
	Peer   Peer
	// Why, if set, tells why the snapshotter does not show a layer lazily, by its
	// chain ID.
	Why func(ctx context.Context, chain chunk.Digest) string
}

// source is a repository whose blobs are asked for.
type source struct{ registry, repository, authorization string }

func (s source) String() string { return s.registry + "/" + s.repository }

// blob has the peer fetch a blob, and gives its file in the peer's store to use.
func (m *Mover) blob(ctx context.Context, from source, d nodeapi.Layer, manifest bool, tell func(done int64), use func(*diskstore.Peeked) error) error {
	request := nodeapi.BlobRequest{Image: from.String(), Digest: d.Digest, Manifest: manifest, Authorization: from.authorization}
	return m.Peer.Blob(ctx, request, func(done, _ int64) { tell(done) }, func() error {
		dir, err := m.Peer.Store(ctx)
		if err != nil {
			return err
		}
		file, err := diskstore.Peek(dir, d.Digest)
		if err != nil {
			return fmt.Errorf("%w; run this as the user of the peer, on its node", err)
		}
		defer file.Close()
		if file.Size() != d.Size {
			return fmt.Errorf("%s has %d bytes, and its manifest says %d; have the image built again", d.Digest, file.Size(), d.Size)
		}
		return use(file)
	})
}

// bring brings a blob into containerd's content store with its labels, and with
// where it came from. It tells how many bytes came to the peer.
func (m *Mover) bring(ctx context.Context, from source, d nodeapi.Layer, manifest bool, labels map[string]string, tell func(done int64)) error {
	known, err := m.Engine.Keep(ctx, d.Digest)
	if err != nil {
		return err
	}
	labels = withSource(labels, known, from.registry, from.repository)
	if known != nil {
		return m.Engine.Label(ctx, d.Digest, missing(labels, known))
	}
	return m.blob(ctx, from, d, manifest, tell, func(file *diskstore.Peeked) error {
		return m.Engine.Write(ctx, descriptor(d), file.File(), labels)
	})
}

// missing are the labels that are not known, or otherwise.
func missing(labels, known map[string]string) map[string]string {
	labels = maps.Clone(labels)
	maps.DeleteFunc(labels, func(key, value string) bool { return known[key] == value })
	return labels
}

func descriptor(d nodeapi.Layer) containerd.Descriptor {
	return containerd.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}
